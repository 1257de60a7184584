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

    def shown(self, scale: float = 100.0) -> dict[str, float | int]:
        """For JSON; shares in points of a hundred."""
        mean, off = round(scale * self.mean, 3), round(scale * self.off, 3)
        return {"mean": mean, "off": off, "seeds": self.seeds}


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Of the differences, seed by seed."""
    return Interval.of([mine - other for mine, other in zip(ours, theirs, strict=True)])
