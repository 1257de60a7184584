"""Calibration: thresholds with a bounded rate of false alarms, and the scores they rest on.

There are two bounds, with the same confidence: at most `bound` of clean rows exceed a threshold,
and at most `SHIFT_BOUND` of rows under a named, benign shift exceed the upper one. The first holds
while traffic is exchangeable with the calibration rows; the second holds for the named shifts only.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from inference.model.columns import number, numbers
from sealgate.trust import fields


def conformal_rank(n: int, bound: float, confidence: float) -> int:
    """Which of n clean scores, counted from the largest, becomes the threshold: 1 is the largest.

    Let n clean scores be exchangeable with later clean scores, and let the threshold be the r-th
    largest of them. The rate at which later scores exceed it is at most a Beta(r, n - r + 1)
    variable, so it exceeds `bound` with probability P(Binomial(n, bound) <= r - 1). The result is
    the largest r for which this is at most 1 - confidence. Nothing is assumed about the scores'
    distribution (Vovk, "Conditional validity of inductive conformal predictors", 2012), but traffic
    must stay exchangeable with the calibration slice.

    0 means that even the largest cannot back the bound, because there are too few scores.
    """
    if n < 1 or not 0 < bound < 1 or not 0 < confidence < 1:
        raise ValueError("n must be positive, bound and confidence between 0 and 1")
    allowed, cumulated, found = 1 - confidence, 0.0, 0
    while found < n:
        cumulated += _binomial(n, bound, found)
        if cumulated > allowed:
            break
        found += 1
    return found


@lru_cache(256)
def highest_rate(n: int, rank: int, confidence: float) -> float:
    """The rate at which later scores exceed the `rank`-th largest of n clean ones at most, in that
    share of calibrations: the bound for which `conformal_rank` allows just this rank.
    """
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        backed = sum(_binomial(n, middle, k) for k in range(rank)) <= 1 - confidence
        low, high = (low, middle) if backed else (middle, high)
    return high


def _binomial(n: int, p: float, k: int) -> float:
    """P(Binomial(n, p) = k), by logarithms so that large n does not underflow on the way."""
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))


SHIFT_BOUND = 0.05
# In so many calibrations no clean row is flagged more often than `Calibration.surely` says.
_SURE = 0.95
_HALVINGS = 40
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreThreshold:
    """A threshold no lower than the `rank`-th largest clean score, and the rate of false alarms
    that it guarantees.
    """

    bound: float
    rank: int
    threshold: float


@dataclass(frozen=True, slots=True)
class BenignShift:
    """A benign change, and the `rank`-th largest score of the calibration rows under it."""

    name: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds set on the same clean rows, whose `scores` ascend."""

    scores: tuple[float, ...]
    confidence: float
    adversarial: ScoreThreshold
    suspect: ScoreThreshold
    shifts: tuple[BenignShift, ...] = ()

    def __post_init__(self) -> None:
        if not self.scores or not 0.5 <= self.confidence < 1:
            raise fields.malformed("a calibration needs rows and a confidence of a half or more")
        if np.any(np.diff(self.scores) < 0):
            raise fields.malformed("clean scores ascend")
        for limit in (self.adversarial, self.suspect):
            if not 0 < limit.bound < 1:
                raise fields.malformed("a bound lies between 0 and 1")
            self._check_rank(limit.rank, limit.bound)
            if limit.threshold < self.scores[-limit.rank]:
                raise fields.malformed("a threshold lies below the clean score of its rank")
        if self.suspect.threshold > self.adversarial.threshold:
            raise fields.malformed("the suspect threshold must be below the adversarial one")
        for shift in self.shifts:
            self._check_rank(shift.rank, SHIFT_BOUND)
            if self.adversarial.threshold < shift.score:
                raise fields.malformed("a threshold lies below the score of a shift's rank")

    @property
    def rows(self) -> int:
        """The number of clean rows."""
        return len(self.scores)

    def surely(self, limit: ScoreThreshold) -> float:
        """How often clean rows exceed one of the limits at most, in 95 of 100 calibrations."""
        return highest_rate(self.rows, limit.rank, _SURE)

    def p_value(self, score: float) -> float:
        """The largest chance that a clean row scores as high: exchangeable rows fall below any
        level at most that often. NaN gets the smallest value.
        """
        below = int(np.searchsorted(self.scores, score, side="left"))
        above = 0 if np.isnan(score) else self.rows - below
        return (1 + above) / (1 + self.rows)

    def value(self) -> dict[str, Any]:
        """The value in a detector's document."""
        return {
            "scores": list(self.scores),
            "confidence": self.confidence,
            "adversarial": _limit_value(self.adversarial),
            "suspect": _limit_value(self.suspect),
            "shifts": [
                {"name": shift.name, "rank": shift.rank, "score": shift.score}
                for shift in self.shifts
            ],
        }

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read what `value` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        item = fields.record(value, ("scores", "confidence", "adversarial", "suspect", "shifts"))
        return cls(
            numbers(item["scores"]),
            number(item["confidence"]),
            _limit(item["adversarial"]),
            _limit(item["suspect"]),
            tuple(_shift(each) for each in fields.items(item["shifts"])),
        )

    def _check_rank(self, rank: int, bound: float) -> None:
        if not 1 <= rank <= conformal_rank(self.rows, bound, self.confidence):
            raise fields.malformed("a threshold claims a bound that its rank does not support")


def _limit_value(limit: ScoreThreshold) -> dict[str, Any]:
    return {"bound": limit.bound, "rank": limit.rank, "threshold": limit.threshold}


def _limit(value: Any) -> ScoreThreshold:
    item = fields.record(value, ("bound", "rank", "threshold"))
    return ScoreThreshold(
        number(item["bound"]), fields.integer(item["rank"]), number(item["threshold"])
    )


def _shift(value: Any) -> BenignShift:
    item = fields.record(value, ("name", "rank", "score"))
    return BenignShift(
        fields.text(item["name"]), fields.integer(item["rank"]), number(item["score"])
    )
