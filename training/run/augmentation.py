"""Augments training rows for a classifier that looks for one class in windows of texts.

A window of a long text, or of a chat, may begin and end anywhere, and hold much besides what is
looked for. So two to five rows of the train slice are concatenated: rows of other classes only, or
with one of the class that is looked for. They are cut to a random window in which that row is
complete. Windows of a long text are much alike, and each costs as much to learn from as a prompt:
of each text a step may take only some as they are, drawn at random. Of those that are joined each
text has its turn as often as any other: else long texts would be most of them.
"""

from dataclasses import dataclass

import numpy as np
import torch

from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids
from sealgate.reasons import Reason, SealgateError
from training.data import NO_LABEL, TRAIN, Classes, RunData
from training.recipe.sections import RecipeStep
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch

_FEWEST, _MOST = 2, 5
# One in so many has a row of the class that is looked for: most of a long text is none.
_EVERY = 3


def given(
    step: RecipeStep, corpus: TaughtRows, material: RunData, label: str, seed: int
) -> TaughtRows:
    """The rows that a step trains on: the train slice, or that with joined rows. Raises
    TRAINING_DATA.
    """
    if not step.joined:
        return corpus
    return with_joined(material, step.joined, label, seed, step.windows_each)


def with_joined(
    material: RunData, times: float, label: str, seed: int, most: int = 0
) -> TaughtRows:
    """The labelled rows of the train slice, of each text `most` at most (0: all), and `times` as
    many that are joined, a third of them of the class `label`. No teacher has read them.

    Raises TRAINING_DATA where no row has that class, or another one.
    """
    read, (x, y) = material.read, material.labelled
    sought = read.names.index(label) if label in read.names else NO_LABEL
    if (y == sought).all() or not (y == sought).any():
        raise SealgateError(Reason.TRAINING_DATA, "rows of a single class cannot be joined")
    if read.tokens is None or read.tokenizer is None:
        raise ValueError("only windows of texts can be joined")
    texts = _labelled_texts(material)
    joiner = _Joiner(x, y, texts, sought, TextTokenizer.open(read.tokenizer, read.tokens))
    rng = np.random.default_rng(seed)
    if most:
        kept = _some_of_each(texts, most, rng)
        x, y = x[kept], y[kept]
    rows, classes = joiner.rows(round(times * len(y)), rng)
    every = np.concatenate([x, rows]), np.concatenate([y, classes])
    return TaughtRows(TrainingBatch(*map(torch.from_numpy, every)))


def _labelled_texts(material: RunData) -> Classes:
    """Of which text each labelled row of the train slice is."""
    _, y = material.slices[TRAIN]
    return material.texts.get(TRAIN, np.arange(len(y)))[y != NO_LABEL]


def _some_of_each(texts: Classes, most: int, rng: np.random.Generator) -> Classes:
    """The places of at most so many rows of each text, in order."""
    drawn = rng.permutation(len(texts))
    by_text = drawn[np.argsort(texts[drawn], kind="stable")]
    _, first, counts = np.unique(texts[by_text], return_index=True, return_counts=True)
    turns = np.arange(len(texts)) - np.repeat(first, counts)
    return np.sort(by_text[turns < most])


@dataclass(frozen=True, slots=True, eq=False)
class _ByText:
    """Rows, of which each text is drawn as often as any other, however many rows it has."""

    places: Classes
    first: Classes
    counts: Classes

    @classmethod
    def of(cls, places: Classes, texts: Classes) -> "_ByText":
        """Of the rows at `places`; `texts` says of which text each row of all is."""
        ordered = places[np.argsort(texts[places], kind="stable")]
        _, first, counts = np.unique(texts[ordered], return_index=True, return_counts=True)
        return cls(ordered, first, counts)

    def draw(self, count: int, rng: np.random.Generator) -> Classes:
        """So many rows, each of a text drawn at random, with replacement."""
        text = rng.integers(len(self.first), size=count)
        drawn: Classes = self.places[self.first[text] + rng.integers(self.counts[text])]
        return drawn


class _Joiner:
    def __init__(
        self, x: Ids, y: Classes, texts: Classes, sought: int, tokenizer: TextTokenizer
    ) -> None:
        before, behind = tokenizer.around
        self._before, self._behind = np.array(before, np.int64), np.array(behind, np.int64)
        ends = tokens.lengths(x) - len(behind)
        said = [row[len(before) : end] for row, end in zip(x, ends, strict=True)]
        is_text = np.array([len(each) > 0 for each in said])
        self._sought = np.flatnonzero(is_text & (y == sought))
        self._others = _ByText.of(np.flatnonzero(is_text & (y != sought)), texts)
        self._said, self._y, self._width = said, y, x.shape[1]
        self._room = self._width - len(before) - len(behind)

    def rows(self, count: int, rng: np.random.Generator) -> tuple[Ids, Classes]:
        found = [self._row(number % _EVERY == 0, rng) for number in range(count)]
        rows = np.stack([row for row, _ in found])
        return rows, np.array([label for _, label in found], np.int64)

    def _row(self, is_sought: bool, rng: np.random.Generator) -> tuple[Ids, int]:
        chosen = self._others.draw(int(rng.integers(_FEWEST, _MOST + 1)), rng)
        place = int(rng.integers(len(chosen)))
        if is_sought:
            chosen[place] = rng.choice(self._sought)
        parts = [self._said[at] for at in chosen]
        begin = sum(map(len, parts[:place]))
        end = begin + len(parts[place])
        text = np.concatenate(parts)
        last = max(0, len(text) - self._room)
        start = int(rng.integers(min(max(0, end - self._room), last), min(begin, last) + 1))
        said = (self._before, text[start : start + self._room], self._behind)
        row = tokens.resized(np.concatenate(said)[np.newaxis], self._width)[0]
        return row, int(self._y[chosen[place]])
