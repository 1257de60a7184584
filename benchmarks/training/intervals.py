"""Means over seeds with their 95% intervals, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of `seeds` values, and how far it may be off either way with 95% confidence."""

    mean: float
    off: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """Of two values or more."""
        n = len(values)
        return cls(mean(values), float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n), n)

    @property
    def least(self) -> float:
        return self.mean - self.off

    def text(self, scale: float = 1.0) -> str:
        return f"{scale * self.mean:.2f} ± {scale * self.off:.2f}"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Of the differences, seed by seed."""
    return Interval.of([mine - other for mine, other in zip(ours, theirs, strict=True)])
