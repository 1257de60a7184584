"""Measures rows as they are served: by the INT8 graph, next to the float32 reference.

The INT8 graph's decision boundary runs next to the float32 reference's, so there are rows between
both on which only one of them changes its answer. An attacker who has the model finds them on the
way to any attack, by bisection. They gain nothing where the float32 answer leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.engine import TappedGraph, open_tapped
from inference.model.config import CLASSES, ModelConfig
from inference.model.decisions import Decision
from inference.model.inputs import InputForm, form_of
from inference.screening.detector import disagreeing, is_near
from inference.screening.first_stage import (
    ClassProjection,
    ClassProjections,
    FirstStage,
    RunOutputs,
    WordTables,
)
from inference.screening.gradient_attacks import Labels
from publishing.attacks import Prober, in_parts, text_probe
from publishing.attacks.probe import Answers, Array, Floats

BORDER = "border"
# The attacks of either kind of prober on whose way the border is looked for.
_WAYS = ("pgd-0.2", text_probe.LEAST)


class BorderProber(Prober, Protocol):
    """A prober that can walk up to the decision boundary, whoever answers."""

    def nearest(self, x: Array, moved: Array, answers: Answers) -> Array:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        ...


class AnsweringModel(Protocol):
    """The model that answers callers."""

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, C]."""
        ...


@dataclass(frozen=True, slots=True)
class ServedProber:
    """A prober's measurements with the answers that callers get: those of `served`, INT8. Where
    they are `compared`, the last feature says where both disagree; with `answers_float32` the
    reference's leave there, but not where INT8's margin is `least_margin` or more. `border`:
    whether attacks end with one that turns the INT8 answer alone.
    """

    prober: BorderProber
    served: AnsweringModel
    compared: bool = True
    answers_float32: bool = True
    border: bool = False
    decision: Decision = CLASSES
    least_margin: float = np.inf

    def measure(self, x: Array) -> tuple[Floats, Floats]:
        """Return the logits [n, C] that leave, and features [n, F], of rows x."""
        reference, features = self.prober.measure(x)
        logits = self.served.logits(x)
        if not self.compared:
            return logits, features
        near = is_near(logits, self.least_margin)
        column = (disagreeing(logits, reference) * near)[:, np.newaxis]
        if self.answers_float32:
            logits = np.where(column > 0, reference, logits)
        return logits, np.concatenate([features, column], axis=1)

    def answers(self, x: Array) -> Labels:
        """Return the classes [n] that leave, of rows x."""
        if not (self.compared and self.answers_float32):
            return self._int8_answers(x)
        found = self.prober.answers(x)
        if np.isinf(self.least_margin):
            return found
        logits = self.served.logits(x)
        near = is_near(logits, self.least_margin)
        return np.where(near, found, self.decision.index(logits))

    def shifts(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each benign change and the rows x under it."""
        return self.prober.shifts(x, generator)

    def attacks(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        moved = None
        for name, rows in self.prober.attacks(x, generator):
            if name in _WAYS:
                moved = rows
            yield name, rows
        if self.border and moved is not None:
            yield BORDER, self._alone(x, moved)

    def _alone(self, x: Array, moved: Array) -> Array:
        """Where only the INT8 answer turns on the way to `moved`, not the reference's; else x."""
        rows = self.prober.nearest(x, moved, self._int8_answers)
        alone = self._int8_answers(rows) != self._int8_answers(x)
        alone &= self.prober.answers(rows) == self.prober.answers(x)
        return np.where(alone.reshape(-1, *[1] * (x.ndim - 1)), rows, x)

    def _int8_answers(self, x: Array) -> Labels:
        return self.decision.index(self.served.logits(x))


# Principal components of the vectors; and of each class's covariance, the shares that are taken
# from all classes together and from a sphere, since a class has few rows.
_COMPONENTS = 16
_POOLED = 0.5
_SPHERE = 0.15
_TINY = 1e-6
# With fewer rows a class has no shape.
LEAST_ROWS = 8


@dataclass(frozen=True, slots=True)
class ServedVectors:
    """An INT8 graph that outputs what enters its last layer."""

    tapped: TappedGraph
    form: InputForm

    @classmethod
    def of(
        cls, int8: bytes, float32: bytes, config: ModelConfig, words: WordTables | None = None
    ) -> "ServedVectors":
        """Raises GRAPH_MISMATCH where the graphs do not end in one layer."""
        return cls(open_tapped(int8, float32, config, words=words), form_of(config))

    @property
    def weight(self) -> Floats:
        """The last layer's, [C, D]."""
        return self.tapped.weight

    def of_rows(self, rows: Array) -> RunOutputs:
        """The outputs of a run on rows [n, ...]."""

        def work(part: Array) -> tuple[Array, ...]:
            return self.tapped.run(self.form.serving(part))

        parts = in_parts(rows, lambda part: self.form.run(rows[part], work))
        return RunOutputs(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True, slots=True)
class StagedProber:
    """A prober whose features are the first stage's with the response graph's behind them, of every
    row: scores are the joined ones all the same.
    """

    prober: BorderProber
    vectors: ServedVectors
    stage: FirstStage

    def measure(self, x: Array) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        logits, features = self.prober.measure(x)
        first = self.stage.readings.features(self.vectors.of_rows(x), self.vectors.weight)
        return logits, np.concatenate([first, features], axis=1)

    def answers(self, x: Array) -> Labels:
        """Return the model's own classes [n] of rows x."""
        return self.prober.answers(x)

    def shifts(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each benign change and the rows x under it."""
        return self.prober.shifts(x, generator)

    def attacks(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        return self.prober.attacks(x, generator)

    def nearest(self, x: Array, moved: Array, answers: Answers) -> Array:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        return self.prober.nearest(x, moved, answers)


def fit_readings(shown: RunOutputs) -> ClassProjections | None:
    """From what is shown of clean rows; None where a class answers fewer than LEAST_ROWS."""
    own, classes = shown.logits.argmax(axis=1), shown.logits.shape[1]
    if np.bincount(own, minlength=classes).min() < LEAST_ROWS:
        return None
    return ClassProjections(
        *(_reading(each, own, classes) for each in (shown.inputs, shown.vectors))
    )


def _reading(found: Floats, own: Labels, classes: int) -> ClassProjection:
    rows = found.astype(np.float64)
    mean = rows.mean(axis=0)
    count = min(_COMPONENTS, *rows.shape)
    basis = np.linalg.svd(rows - mean, full_matrices=False)[2][:count].T
    z = (rows - mean) @ basis
    parts = [z[own == label] for label in range(classes)]
    covariances = [np.cov(part, rowvar=False, bias=True).reshape(count, count) for part in parts]
    pooled = sum(len(part) / len(z) * each for part, each in zip(parts, covariances, strict=True))
    factors, centers = [], []
    for part, covariance in zip(parts, covariances, strict=True):
        mixed = (1 - _POOLED) * covariance + _POOLED * pooled
        sphere = np.eye(count) * (np.trace(mixed) / count + _TINY)
        precision = np.linalg.inv((1 - _SPHERE) * mixed + _SPHERE * sphere)
        factors.append(np.linalg.cholesky(precision))
        centers.append(part.mean(axis=0) @ factors[-1])
    moments = mean, basis, np.concatenate(factors, axis=1), np.concatenate(centers)
    return ClassProjection(*(_numbers(each) for each in moments))


def _numbers(array: npt.NDArray[Any]) -> tuple[float, ...]:
    """Rounded as they are read again."""
    return tuple(array.astype(np.float32).astype(np.float64).ravel().tolist())
