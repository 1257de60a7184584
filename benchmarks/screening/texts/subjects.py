"""A text model to attack: its slices, its response, and the detector that is fitted to it.

The detector is fitted as a version's is, from `publishing.calibration.text_probe`, with one benign
change more: words mistyped, which callers send all the time.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from benchmarks.screening.subjects import CACHE, PLAIN
from benchmarks.screening.texts import models
from benchmarks.screening.texts.corpora import Corpus, Labels, Texts, cut
from benchmarks.screening.texts.mistyping import mistyped
from benchmarks.screening.texts.models import Cutter
from inference.runtime import response_contract
from inference.screening.detector import Detector
from inference.text import tokens
from inference.text.tokens import Ids
from publishing.calibration.detector_fit import fit
from publishing.calibration.text_probe import TextProbe
from training.export.reference import CleanReference, watched
from training.export.response import LayerTap, cross_entropy_slope
from training.export.text import depth, respond
from training.export.word_votes import WordVotes
from training.models.encoder import TextClassifier

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
SHARES = (0.05, 0.1)
"""Of a text's words that are mistyped."""
_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's response: logits and features."""

    module: TextClassifier
    reference: CleanReference
    wording: WordVotes

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        ids, mask, label, eps = (
            torch.as_tensor(feeds[name]) for name in response_contract.TEXT_INPUTS
        )
        with watched(self.module) as entered:
            watch, begins = LayerTap(self.reference, entered), depth(self.module)
            given = ids, mask, label, eps, watch, begins, self.wording
            logits, _, features = respond(self.module, *given)
        return [logits.numpy(), features.numpy()]


@dataclass(frozen=True, slots=True)
class Stepped:
    """A model's FGSM step among the embeddings, alone."""

    module: TextClassifier

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        ids, mask, label, eps = (
            torch.as_tensor(feeds[name]) for name in response_contract.TEXT_INPUTS
        )
        words = self.module(ids).detach().requires_grad_(True)
        logits = self.module(words, mask)
        attacked = torch.arange(logits.shape[1]) == label[:, None]
        slope = cross_entropy_slope(logits.detach(), attacked)
        (gradient,) = torch.autograd.grad(logits, words, slope)
        return [(words.detach() + eps * gradient.sign()).numpy()]


@dataclass(frozen=True, slots=True)
class Typed:
    """A text probe whose benign changes are of texts, too: `texts` has those of its rows."""

    probe: TextProbe
    cutter: Cutter
    texts: Mapping[bytes, str]

    def measure(self, x: Ids) -> tuple[Floats, Floats]:
        return self.probe.measure(x)

    def answers(self, x: Ids) -> Labels:
        return self.probe.answers(x)

    def shifts(self, x: Ids, generator: np.random.Generator) -> Iterator[tuple[str, Ids]]:
        yield from self.probe.shifts(x, generator)
        texts = [self.texts[row.tobytes()] for row in x]
        for share in SHARES:
            moved = [mistyped(text, share, generator) for text in texts]
            yield f"mistyped-{share:g}", self.cutter.rows(moved)

    def attacks(self, x: Ids, generator: np.random.Generator) -> Iterator[tuple[str, Ids]]:
        yield from self.probe.attacks(x, generator)


@dataclass(frozen=True, slots=True)
class TextSubject:
    """A model with its slices, as texts and as rows of tokens."""

    corpus: Corpus
    seed: int
    module: TextClassifier
    cutter: Cutter
    slices: dict[str, Texts]
    rows: dict[str, Ids]
    probe: Typed

    @property
    def right(self) -> tuple[list[str], Ids, Labels]:
        """The test texts that the model tells right, as rows of tokens too, with their classes."""
        part, rows = self.slices["test"], self.rows["test"]
        places = np.flatnonzero(self.probe.answers(rows) == part.classes)
        return [part.texts[at] for at in places], rows[places], part.classes[places]

    @property
    def digest(self) -> str:
        """Of weights and rows: what is cached belongs to them."""
        found = hashlib.sha256(self.rows["test"].tobytes())
        found.update(save(self.module.state_dict()))
        return found.hexdigest()[:16]

    def scores(self, texts: list[str]) -> Floats:
        """What who asks is told at most: the logits [n, C]."""
        rows = self.cutter.rows(texts)
        rows = rows[:, : int(tokens.lengths(rows).max())]
        with torch.no_grad():
            found: Floats = self.module.answers(torch.from_numpy(rows))[1].numpy()
        return found

    def detector(self) -> Detector:
        generator = np.random.default_rng(self.seed)
        return fit(self.probe, self.rows["fit"], self.rows["calibration"], generator)


def subject(corpus: Corpus, seed: int) -> TextSubject:
    """The model, trained or as it was kept. Raises FileNotFoundError where there are no data."""
    slices = cut(corpus, seed)
    classes = slices["train"].classes
    # Trained on other texts it would be another model, and might have seen those of other slices.
    trained = hashlib.sha256(Path(models.__file__).read_bytes())
    trained.update("\n".join(slices["train"].texts).encode())
    kept = CACHE / corpus.name / PLAIN / str(seed) / trained.hexdigest()[:16]
    made = models.made(slices["train"], len(corpus.labels), seed, kept)
    module, cutter = made.module, made.cutter
    rows = {name: cutter.rows(part.texts) for name, part in slices.items()}
    reference = CleanReference.fit([made.vectors], classes, len(corpus.labels))
    wording = WordVotes.fit(rows["train"], classes, cutter.rules.vocabulary, len(corpus.labels))
    measured = Measured(module, reference, wording)
    probe = TextProbe.over(measured, Stepped(module), cutter.rules, _STEP, rows["train"])
    texts = {
        row.tobytes(): text
        for name, part in slices.items()
        for row, text in zip(rows[name], part.texts, strict=True)
    }
    typed = Typed(probe, cutter, texts)
    return TextSubject(corpus, seed, module, cutter, slices, rows, typed)
