"""How a model's answers are read: as one class, numbers, or several labels.

`model.json` states it in the section `answer`:

    (absent)                                        the class with the largest of C scores
    {"kind": "numbers", "tolerance": [O numbers],   predictions; one that differs by more than the
     "spread": [O numbers], "levels": [K rows]}     tolerance is another answer
    {"kind": "labels", "threshold": 0.5,            a label is given if its number exceeds the
     "levels": [K rows of 0 and 1]}                 threshold: 0.5 for probabilities, 0 for scores

Screening measures steps away from the level of an answer, as it does for a class: `levels` are
typical predictions, or the sets of labels that the model often gives. The score of a level is
linear in the answer, and the nearest level has the largest score.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.columns import number, numbers
from sealgate.tensors import Tensor
from sealgate.trust import fields

Array = npt.NDArray[Any]
LABEL, ROUNDED = "label", "rounded"
NUMBERS, LABELS, CLASSES = "numbers", "labels", "classes"
LEAST_PROBABILITY = 1e-6
_MOST_LEVELS = 64


class Decision(Protocol):
    """How answers [n, C] of one model are read and compared."""

    kind: ClassVar[str]
    quality_name: ClassVar[str]

    @property
    def width(self) -> int | None:
        """The number of elements of an answer; None for any number of scores."""
        ...

    def index(self, answers: Array) -> npt.NDArray[np.int64]:
        """The class or level [n] of each answer."""
        ...

    def changed(self, before: Array, after: Array) -> npt.NDArray[np.bool_]:
        """Whether the second answer differs from the first, for each row [n]."""
        ...

    def groups(self, y: Array) -> npt.NDArray[np.int64]:
        """The class or level [n] of the correct answers."""
        ...

    def quality(self, answers: Array, y: Array) -> float:
        """The quality of answers, from 0 to 1, measured as `quality_name` says."""
        ...

    def reduced(self, answers: Array) -> Tensor:
        """The output for callers to whom the policy gives only labels."""
        ...

    def encode(self) -> dict[str, Any] | None:
        """The section, None for classes."""
        ...


@dataclass(frozen=True, slots=True)
class Classes:
    """The class with the largest score."""

    kind: ClassVar[str] = CLASSES
    quality_name: ClassVar[str] = "accuracy"
    width: ClassVar[None] = None

    def index(self, answers: Array) -> npt.NDArray[np.int64]:
        return np.asarray(answers.argmax(axis=-1), np.int64)

    def changed(self, before: Array, after: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(self.index(before) != self.index(after))

    def groups(self, y: Array) -> npt.NDArray[np.int64]:
        return y

    def quality(self, answers: Array, y: Array) -> float:
        """The share of rows whose class is right."""
        return float(np.mean(self.index(answers) == y))

    def reduced(self, answers: Array) -> Tensor:
        """The classes [n], which do not reveal how near the decision boundary is."""
        return Tensor.of(LABEL, self.index(answers))

    def encode(self) -> dict[str, Any] | None:
        return None


@dataclass(frozen=True, slots=True)
class Numbers:
    """O predictions."""

    tolerance: tuple[float, ...]
    spread: tuple[float, ...]
    levels: tuple[tuple[float, ...], ...]
    kind: ClassVar[str] = NUMBERS
    quality_name: ClassVar[str] = "r2"

    def __post_init__(self) -> None:
        _check_levels(self.levels, len(self.tolerance))
        if len(self.spread) != len(self.tolerance) or min(*self.tolerance, *self.spread, 1.0) <= 0:
            raise fields.malformed("each predicted number has a tolerance and a spread")

    @property
    def width(self) -> int:
        return len(self.tolerance)

    def affine(self) -> tuple[Array, Array]:
        """Weights [O, K] and shifts [K] of the levels' scores, which are linear in the answer.

        They are centered on the mean of the levels. Without that, float32 could not distinguish
        levels far from 0.
        """
        levels, spread = np.array(self.levels), np.array(self.spread)
        middle = levels.mean(axis=0)
        off = (levels - middle) / spread
        return (off / spread).T, -(off * (levels + middle) / spread).sum(axis=1) / 2

    def index(self, answers: Array) -> npt.NDArray[np.int64]:
        weight, shift = self.affine()
        return np.asarray((answers @ weight + shift).argmax(axis=-1), np.int64)

    def changed(self, before: Array, after: Array) -> npt.NDArray[np.bool_]:
        moved = np.abs(np.asarray(after, np.float64) - before)
        # The comparison is false for NaN, which therefore counts as a change.
        return np.asarray(~(moved <= self.tolerance).all(axis=-1))

    def groups(self, y: Array) -> npt.NDArray[np.int64]:
        return self.index(y)

    def quality(self, answers: Array, y: Array) -> float:
        """The share of the numbers' variance that is predicted, at least 0."""
        off = ((answers - y) ** 2).sum(axis=0)
        whole = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        return float(np.clip(np.mean(1 - off / np.maximum(whole, 1e-30)), 0, 1))

    def reduced(self, answers: Array) -> Tensor:
        """The predictions, rounded to whole tolerances, which hides the effect of a small step."""
        rounded = np.rint(answers / np.array(self.tolerance)) * self.tolerance
        return Tensor.of(ROUNDED, rounded.astype(np.float32))

    def encode(self) -> dict[str, Any]:
        return {
            "kind": NUMBERS,
            "tolerance": list(self.tolerance),
            "spread": list(self.spread),
            "levels": [list(level) for level in self.levels],
        }


@dataclass(frozen=True, slots=True)
class Labels:
    """A separate decision for each of L labels."""

    threshold: float
    levels: tuple[tuple[float, ...], ...]
    kind: ClassVar[str] = LABELS
    quality_name: ClassVar[str] = "label accuracy"

    def __post_init__(self) -> None:
        _check_levels(self.levels, len(self.levels[0]) if self.levels else 0)
        if self.threshold not in (0.0, 0.5) or not {0.0, 1.0}.issuperset(chain(*self.levels)):
            raise fields.malformed(
                "a level has 0 or 1 for each label, and the threshold is 0 or 0.5"
            )

    @property
    def width(self) -> int:
        return len(self.levels[0])

    def affine(self) -> tuple[Array, Array]:
        """Weights [L, K] and shifts [K] for the log-odds of the labels."""
        return np.array(self.levels).T - 0.5, np.zeros(len(self.levels))

    def odds(self, answers: Array) -> Array:
        """The logarithms of the labels' odds, or their scores."""
        if self.threshold == 0:
            return answers
        p = np.clip(np.asarray(answers, np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return np.asarray(np.log(p) - np.log1p(-p))

    def index(self, answers: Array) -> npt.NDArray[np.int64]:
        return np.asarray((self.odds(answers) @ self.affine()[0]).argmax(axis=-1), np.int64)

    def changed(self, before: Array, after: Array) -> npt.NDArray[np.bool_]:
        differ = self._given(before) != self._given(after)
        return np.asarray((differ | np.isnan(before) | np.isnan(after)).any(axis=-1))

    def groups(self, y: Array) -> npt.NDArray[np.int64]:
        return np.asarray(((y - 0.5) @ self.affine()[0]).argmax(axis=-1), np.int64)

    def quality(self, answers: Array, y: Array) -> float:
        """The share of labels that are right."""
        return float(np.mean(self._given(answers) == y.astype(np.bool_)))

    def reduced(self, answers: Array) -> Tensor:
        """The labels [n, L] as 0 or 1, without their probabilities."""
        return Tensor.of(LABEL, self._given(answers).astype(np.int64))

    def encode(self) -> dict[str, Any]:
        levels = [list(level) for level in self.levels]
        return {"kind": LABELS, "threshold": self.threshold, "levels": levels}

    def _given(self, answers: Array) -> npt.NDArray[np.bool_]:
        return np.asarray(answers > self.threshold)


def decode_decision(value: Any) -> Numbers | Labels:
    """Read the section `answer`. Raises SealgateError(DOCUMENT_MALFORMED)."""
    kind = fields.mapping(value).get("kind")
    if kind == NUMBERS:
        item = fields.record(value, ("kind", "tolerance", "spread", "levels"))
        return Numbers(numbers(item["tolerance"]), numbers(item["spread"]), _levels(item))
    if kind != LABELS:
        raise fields.malformed("an answer that is no class is numbers or labels")
    item = fields.record(value, ("kind", "threshold", "levels"))
    return Labels(number(item["threshold"]), _levels(item))


def _levels(item: dict[str, Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(numbers(level) for level in fields.items(item["levels"]))


def _check_levels(levels: tuple[tuple[float, ...], ...], width: int) -> None:
    if not 2 <= len(levels) <= _MOST_LEVELS or not width:
        raise fields.malformed(f"an answer has 2 to {_MOST_LEVELS} levels")
    if any(len(level) != width for level in levels) or len(set(levels)) < len(levels):
        raise fields.malformed("levels must be distinct and have the answer's width")
