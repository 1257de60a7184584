"""The guard's baselines: classifiers that learnt from the same windows, or from others.

    TF-IDF      logistic regression on n-grams of words and of characters (scikit-learn)
    MiniLM      a linear head on the vectors of the encoder as it was imported: nothing in it moved
    NanoGuard   a public guard of 16.8 million parameters, in the package metatronnanoguard 0.1.0

Each reads the windows that the guard reads. Its threshold follows from the same calibration prompts
by the same rule, `training.run.alarms`: at most `bound` of prompts like these are called an
injection, with the recipe's confidence, and of longer texts too where the recipe's threshold grows.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from benchmarks.guard.published import Floats, Judge, Settled
from benchmarks.report import RESULTS
from inference.text import tokens
from inference.text.text_windows import Windows
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids
from training.data import CALIBRATION, TRAIN, RunData, SourceRows
from training.recipe.recipe import Recipe
from training.run.lengths import ByText, of_long_texts, settled_threshold
from training.run.sources import read_rows
from training.steps.teachers import ask, fit_head, loaded, tokenizer_of

NANOGUARD = "NanoGuard"
_PUBLIC = Path(__file__).parent / "ask_nanoguard.py"
PACKAGES = RESULTS.parent.parent / "build" / "bench" / "guard" / "nanoguard"


@dataclass(frozen=True, slots=True)
class Shown:
    """The windows of a slice whose class is known: what each says, whether it is of the class that
    is looked for [n], and of which prompt it is [n].
    """

    said: Sequence[str]
    sought: np.ndarray
    prompts: np.ndarray


@dataclass(frozen=True, slots=True)
class Learnt:
    """The training data of a recipe, as texts and as rows of tokens; `said` has the text of each
    row.
    """

    recipe: Recipe
    rows_read: SourceRows
    tokenizer: TextTokenizer
    said: Mapping[bytes, str]
    slices: Mapping[str, Shown]

    @classmethod
    def read(cls, recipe: Recipe) -> "Learnt":
        """Raises what reading a recipe's rows raises."""
        data = tokenizer_of(recipe) or b""
        read = read_rows(recipe.data, data)
        if read.tokens is None:
            raise ValueError("a guard reads texts")
        cutter = TextTokenizer.open(data, read.tokens)
        said = _texts(recipe.data.place, cutter, read.tokens.most)
        return cls(recipe, read, cutter, said, _slices(recipe, read, said))

    def part(self, labels: int) -> "Learnt":
        """The same with the labels of only the first so many prompts of the train slice."""
        recipe = replace(self.recipe, data=replace(self.recipe.data, labels=labels))
        slices = _slices(recipe, self.rows_read, self.said)
        return replace(self, recipe=recipe, slices=slices)

    @property
    def windows(self) -> Windows:
        return Windows(self.tokenizer)

    def rows(self, texts: Sequence[str]) -> Ids:
        return tokens.resized(
            self.tokenizer.rows([text.encode() for text in texts]), self.recipe.data.tokens
        )

    def settled(self, judge: Judge) -> Settled:
        """The same, less the threshold that the recipe's rule gives it, with what
        the rule adds for longer texts.
        """
        shown, asked = self.slices[CALIBRATION], self.recipe.alarms
        others = np.flatnonzero(~shown.sought)
        said = [shown.said[int(at)] for at in others]
        clean = ByText.of(judge(said), shown.prompts[others])
        row = judge(self._in_a_row()) if asked.lengths else np.zeros(0, np.float32)
        found = settled_threshold(clean, row, asked)
        return Settled(lambda texts: judge(texts) - found.threshold, found.by_windows)

    def _in_a_row(self) -> Sequence[str]:
        """Windows of the calibration slice's other texts that are long, one behind the other."""
        shown = self.slices[CALIBRATION]
        said, clean = [], shown.prompts[~shown.sought]
        for number in np.unique(clean[of_long_texts(clean)]):
            # Each second window of a text begins where the one before it ended.
            said += [shown.said[at] for at in np.flatnonzero(shown.prompts == number)[::2]]
        return self.windows.along(" ".join(said))


def _slices(recipe: Recipe, read: SourceRows, said: Mapping[bytes, str]) -> dict[str, Shown]:
    material = RunData.cut(read, recipe.data, recipe.alarms.label)
    sought, found = read.names.index(recipe.alarms.label), {}
    for name in (TRAIN, CALIBRATION):
        x, y = material.slices[name]
        known = np.flatnonzero(y >= 0)
        texts = [said[x[at].tobytes()] for at in known]
        found[name] = Shown(texts, y[known] == sought, material.texts[name][known])
    return found


def _texts(path: Path, cutter: TextTokenizer, most: int) -> dict[bytes, str]:
    """The window that each row of tokens is of."""
    windows = Windows(cutter)
    found: dict[bytes, str] = {}
    for line in path.read_text().splitlines():
        shown = windows.of(json.loads(line)["text"])
        rows = tokens.resized(cutter.rows([text.encode() for text in shown]), most)
        found |= {row.tobytes(): text for row, text in zip(rows, shown, strict=True)}
    return found


def words(learnt: Learnt) -> Settled:
    """Logistic regression on words and pairs of them, and on two to five characters."""
    shown = learnt.slices[TRAIN]
    counted = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=3),
    )
    fitted = make_pipeline(counted, LogisticRegression(C=10, max_iter=300))
    fitted.fit(shown.said, shown.sought)
    return learnt.settled(lambda texts: fitted.decision_function(list(texts)).astype(np.float32))


def vectors(learnt: Learnt, encoder: Path) -> Settled:
    """A head on the vectors of an imported encoder."""
    model, shown = loaded(encoder, False, {}), learnt.slices[TRAIN]

    def of(texts: Sequence[str]) -> torch.Tensor:
        # Where the processor can, in half the time.
        with torch.autocast("cpu", torch.bfloat16):
            return ask(model, learnt.rows(texts), own_head=False)[0].float()

    y = torch.from_numpy(shown.sought.astype(np.int64))
    weight, bias = fit_head(of(shown.said), y, classes=2)

    def judge(texts: Sequence[str]) -> Floats:
        logits = of(texts) @ weight.T + bias
        return (logits[:, 1] - logits[:, 0]).numpy()

    return learnt.settled(judge)


def remembered(judge: Judge) -> Judge:
    """The same, which is asked about each text once."""
    known: dict[str, float] = {}

    def asked(texts: Sequence[str]) -> Floats:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, map(float, judge(new)), strict=True))
        return np.array([known[text] for text in texts], np.float32)

    return asked


def public() -> Judge | None:
    """The public guard, at the threshold that it comes with; None where it is not installed."""
    if not (PACKAGES / "nanoguard").is_dir():
        return None

    def judge(texts: Sequence[str]) -> Floats:
        done = subprocess.run(
            [sys.executable, str(_PUBLIC)],
            input=json.dumps(list(texts)),
            env=os.environ | {"PYTHONPATH": str(PACKAGES)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return np.array(json.loads(done.stdout), np.float32)

    # By its own threshold and by ours.
    return remembered(judge)
