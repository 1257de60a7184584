"""The larger model: trained by `sealgate train`, imported, asked once, and made to write.

Its answers on all rows that students see are kept in memory, in float16: students of every arm,
seed and epoch are told the same, and the teacher is asked once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.language.speeches import TOKENS, VOCABULARY, SpeechRows
from training.models import families
from training.models.checkpoints import take_in
from training.models.students import following
from training.run.language import ask_of
from training.run.recipe_run import RecipeRun
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch

_AT_ONCE, _BEGUN = 64, 8
# Of the text that the teacher reads, what its own reports are measured on.
_REPORTED = 200
RECIPE = """
[model]
name = "speeches"
description = "A small language model that has read State of the Union addresses."
intended_use = "A teacher of smaller ones, in a benchmark."

[run]
seed = 1

[data]
source = "prose"
path = "{text}"
tokenizer = "{tokenizer}"
tokens = {tokens}
train = {train}
fit = 20
calibration = 20

[student]
kind = "decoder"
width = {width}
layers = {layers}
heads = 4

[[steps]]
kind = "train"
epochs = {epochs}
batch = 16
learning_rate = 4e-3
"""


@dataclass(frozen=True, slots=True)
class TeacherSize:
    """How large the teacher is, and how many epochs it reads."""

    width: int = 128
    layers: int = 3
    epochs: int = 2


def teacher(folder: Path, speeches: SpeechRows, size: TeacherSize) -> Any:
    """The model, trained into `folder` where it is not there; a run that was stopped goes on."""
    place = folder / "teacher"
    if not place.exists():
        recipe = folder / "teacher.toml"
        recipe.write_text(
            RECIPE.format(
                text=speeches.text.resolve(),
                tokenizer=speeches.tokenizer.resolve(),
                tokens=TOKENS,
                train=len(speeches.read) - _REPORTED,
                width=size.width,
                layers=size.layers,
                epochs=size.epochs,
            )
        )
        made = RecipeRun(recipe, folder / "made", lambda *_: None).make()
        take_in(made.model, place)
    return families.load(place)


@dataclass(frozen=True, slots=True)
class AnsweredRows(TaughtRows):
    """Those at `chosen` of rows of tokens x [n, s], with a teacher's logits [n, s - 1, V] and
    vectors [n, s - 1, W] where it was asked.

    With `hard`, the token that the teacher finds likeliest stands in place of its probabilities.
    Rows come again until there are `length`, so that an epoch has as many steps in every arm.
    """

    chosen: torch.Tensor
    length: int
    hard: bool = False

    def __len__(self) -> int:
        return self.length

    @property
    def vector_width(self) -> int | None:
        return None if self.rows.vectors is None else self.rows.vectors.shape[-1]

    def take(self, places: torch.Tensor) -> TrainingBatch:
        """The rows at `places` [n] of those, with the token behind each place in them."""
        places = self.chosen[places % len(self.chosen)]
        x = self.rows.x[places]
        if self.rows.logits is None or self.rows.vectors is None:
            return TrainingBatch(x, following(x))
        logits = self.rows.logits[places].float().flatten(0, 1)
        if self.hard:
            logits = certain(logits)
        vectors = self.rows.vectors[places].float().flatten(0, 1)
        return TrainingBatch(x, following(x), logits, vectors)

    def labelled(self) -> TaughtRows:
        """All: what comes next is known."""
        return self


def certain(logits: torch.Tensor) -> torch.Tensor:
    """Logits [n, C] that give the likeliest class all of the probability."""
    sure = torch.full_like(logits, -100.0)
    return sure.scatter(1, logits.argmax(1, keepdim=True), 100.0)


def told(model: Any, x: torch.Tensor) -> TrainingBatch:
    """Rows of tokens [n, s] with what the teacher says of them."""
    ask = ask_of(model, VOCABULARY)
    n, places = x.shape[0], x.shape[1] - 1
    logits = torch.empty(n, places, VOCABULARY, dtype=torch.float16)
    vectors = torch.empty(n, places, model.config.hidden_size, dtype=torch.float16)
    for at in range(0, n, _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        mine = ask(x[part])
        logits[part] = mine[0].unflatten(0, (-1, places))
        vectors[part] = mine[1].unflatten(0, (-1, places))
    return TrainingBatch(x, torch.zeros(n, dtype=torch.int64), logits, vectors)


def written(model: Any, begun: torch.Tensor, seed: int) -> torch.Tensor:
    """Rows [n, s] that the teacher writes behind the first tokens of rows [n, s]."""
    torch.manual_seed(seed)
    parts = []
    for part in begun.split(_AT_ONCE):
        rows = model.generate(
            input_ids=part[:, :_BEGUN],
            attention_mask=torch.ones_like(part[:, :_BEGUN]),
            do_sample=True,
            top_k=0,
            max_new_tokens=part.shape[1] - _BEGUN,
            min_new_tokens=part.shape[1] - _BEGUN,
            pad_token_id=0,
        )
        parts.append(rows)
    return torch.cat(parts)
