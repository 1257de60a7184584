"""What an INT8 run shows of rows while a version is being made, and what the first stage makes of
it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine.graphs import Tapped, open_tapped
from inference.model.config import ModelConfig
from inference.model.forms import Form, form_of
from inference.screening.attack import Labels
from inference.screening.first_stage import FirstStage, Reading, Readings, Shown, Words
from publishing.probe import Answers, Array, Floats
from publishing.served import Walker

_BATCH_ROWS = 128
# Principal components of the vectors; and of each class's covariance, the shares that are taken
# from all classes together and from a sphere, since a class has few rows.
_COMPONENTS = 16
_POOLED = 0.5
_SPHERE = 0.15
_TINY = 1e-6
# With fewer rows a class has no shape.
LEAST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Vectors:
    """An INT8 graph that shows what enters its last layer."""

    tapped: Tapped
    form: Form

    @classmethod
    def of(
        cls, int8: bytes, float32: bytes, config: ModelConfig, words: Words | None = None
    ) -> "Vectors":
        """Raises GRAPH_MISMATCH where the graphs do not end in one layer."""
        return cls(open_tapped(int8, float32, config, words=words), form_of(config))

    @property
    def weight(self) -> Floats:
        """The last layer's, [C, D]."""
        return self.tapped.weight

    def of_rows(self, rows: Array) -> Shown:
        """What is shown of rows [n, ...]."""

        def work(part: Array) -> tuple[Array, ...]:
            return self.tapped.run(self.form.serving(part))

        starts = range(0, len(rows), _BATCH_ROWS)
        parts = [self.form.run(rows[at : at + _BATCH_ROWS], work) for at in starts]
        return Shown(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True, slots=True)
class StagedProber:
    """A prober whose features are the first stage's with the response graph's behind them, of every
    row: scores are the joined ones all the same.
    """

    prober: Walker
    vectors: Vectors
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


def fit_readings(shown: Shown) -> Readings | None:
    """From what is shown of clean rows; None where a class answers fewer than LEAST_ROWS."""
    own, classes = shown.logits.argmax(axis=1), shown.logits.shape[1]
    if np.bincount(own, minlength=classes).min() < LEAST_ROWS:
        return None
    return Readings(*(_reading(each, own, classes) for each in (shown.inputs, shown.vectors)))


def _reading(found: Floats, own: Labels, classes: int) -> Reading:
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
    return Reading(*(_numbers(each) for each in moments))


def _numbers(array: npt.NDArray[Any]) -> tuple[float, ...]:
    """Rounded as they are read again."""
    return tuple(array.astype(np.float32).astype(np.float64).ravel().tolist())
