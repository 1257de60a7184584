"""The outcomes of one promotion, and what a window of them says: accuracy, calibration, groups.

Figures are over rows: an answer about three rows has three outcomes. A window goes by when outcomes
were reported, since many are known long after the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.outcomes.judged import JudgedAnswer
from sealgate.trust.policy import OutcomeLimits

MOST_ROWS = 1 << 16
"""Of a series; the oldest go first."""
_FIRST_ROWS = 256
_MOST_COMBINATIONS = 4096
_BINS = 10
_ROW = np.dtype(
    [
        ("time", np.float64),
        ("right", np.bool_),
        ("confidence", np.float32),
        ("error", np.float64),
        ("stated", np.int32),
        ("entry", np.int64),
    ]
)
Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The rows whose confidence is from `lower` on, a tenth wide."""

    lower: float
    outcomes: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """The share of wrong answers in a group of an attribute."""

    attribute: str
    group: str
    outcomes: int
    error: float


@dataclass(frozen=True, slots=True)
class OutcomePoint:
    """The outcomes of a slice of time that ends at `time`, in seconds of the epoch."""

    time: float
    outcomes: int
    accuracy: float


class OutcomeWindow:
    """The outcomes of a stretch of time: `rows`, and the groups that each may have stated."""

    def __init__(self, rows: Rows, stated: Sequence[Mapping[str, str]]) -> None:
        self.rows = rows
        self._stated = stated

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def accuracy(self) -> float:
        """The share of right answers; 0 where there are none."""
        return float(self.rows["right"].mean()) if len(self.rows) else 0.0

    @property
    def mean_error(self) -> float | None:
        """The mean absolute error of numbers; None for labels."""
        return _mean(self.rows["error"])

    def bins(self) -> list[CalibrationBin]:
        """How often answers of each tenth of confidence were right: a reliability diagram."""
        sure = self.rows[~np.isnan(self.rows["confidence"])]
        place = np.minimum((sure["confidence"] * _BINS).astype(int), _BINS - 1)
        found = []
        for number in np.unique(place):
            here = sure[place == number]
            confidence, right = here["confidence"].mean(), here["right"].mean()
            found.append(CalibrationBin(number / _BINS, len(here), float(confidence), float(right)))
        return found

    @property
    def ece(self) -> float | None:
        """The expected calibration error (Naeini, Cooper and Hauskrecht, 2015): over ten bins, how
        far confidence is from accuracy. None where no answer tells its confidence.
        """
        bins = self.bins()
        total = sum(each.outcomes for each in bins)
        if not total:
            return None
        return sum(b.outcomes * abs(b.accuracy - b.confidence) for b in bins) / total

    def groups(self) -> list[GroupErrors]:
        """The error of each group of each attribute that was stated, in order."""
        here = self.rows["stated"]
        counts = np.bincount(here, minlength=len(self._stated))
        wrong = np.bincount(here, ~self.rows["right"], minlength=len(self._stated))
        found: dict[tuple[str, str], list[float]] = {}
        for place, stated in enumerate(self._stated):
            for group in stated.items():
                totals = found.setdefault(group, [0.0, 0.0])
                totals[0] += float(counts[place])
                totals[1] += float(wrong[place])
        return [
            GroupErrors(attribute, group, int(count), bad / count)
            for (attribute, group), (count, bad) in sorted(found.items())
            if count
        ]

    def gap(self, least: int) -> tuple[float, str] | None:
        """The largest difference between the errors of two groups of one attribute that have
        `least` outcomes each, and the attribute; None where there are no two.
        """
        errors: dict[str, list[float]] = {}
        for each in self.groups():
            if each.outcomes >= least:
                errors.setdefault(each.attribute, []).append(each.error)
        gaps = [(max(e) - min(e), attribute) for attribute, e in errors.items() if len(e) > 1]
        return max(gaps, default=None)

    def points(self, most: int = 60) -> list[OutcomePoint]:
        """Accuracy over time, in at most so many slices of equal length that have outcomes."""
        times = self.rows["time"]
        if not len(times):
            return []
        first, last = float(times.min()), float(times.max())
        length = max((last - first) / most, 1e-6)
        place = np.minimum(((times - first) / length).astype(int), most - 1)
        counts = np.bincount(place, minlength=most)
        right = np.bincount(place, self.rows["right"], minlength=most)
        return [
            OutcomePoint(first + length * (at + 1), int(counts[at]), right[at] / counts[at])
            for at in np.flatnonzero(counts).tolist()
        ]


class OutcomeSeries:
    """The newest outcomes of one promotion. Not safe for threads."""

    def __init__(self) -> None:
        self._rows = np.zeros(_FIRST_ROWS, _ROW)
        self._count = 0
        # Most reports state one of few combinations of groups; what is beyond states none.
        self._places: dict[tuple[tuple[str, str], ...], int] = {(): 0}

    def add(self, time: float, judged: JudgedAnswer, entry: int) -> None:
        """Add an answer's rows; `time` is in seconds of the epoch, and only grows."""
        count = len(judged.right)
        if self._count + count > len(self._rows):
            self._make_room()
        rows = self._rows[self._count : self._count + count]
        rows["time"], rows["entry"], rows["right"] = time, entry, judged.right
        rows["confidence"] = judged.confidences or np.nan
        rows["error"] = judged.errors or np.nan
        rows["stated"] = self._place(judged.groups)
        self._count += count

    def since(self, time: float) -> OutcomeWindow:
        """The outcomes from a time on."""
        rows = self._rows[: self._count]
        first = int(np.searchsorted(rows["time"], time))
        return OutcomeWindow(rows[first:].copy(), [dict(each) for each in self._places])

    def _make_room(self) -> None:
        kept = self._rows[max(0, self._count - MOST_ROWS // 2) : self._count]
        self._rows = np.zeros(min(2 * len(self._rows), MOST_ROWS), _ROW)
        self._rows[: len(kept)] = kept
        self._count = len(kept)

    def _place(self, groups: Mapping[str, str]) -> int:
        stated = tuple(sorted(groups.items()))
        if stated not in self._places and len(self._places) >= _MOST_COMBINATIONS:
            return 0
        return self._places.setdefault(stated, len(self._places))


def finding(
    window: OutcomeWindow, limits: OutcomeLimits, psi: tuple[float, str] | None = None
) -> str | None:
    """Which limit a window passes, in words; None where it passes none. `psi` is the largest of the
    columns that have rows enough, and its column.
    """
    if psi is not None and _passes(psi[0], limits.psi_percent):
        return f"column {psi[1]}: PSI {psi[0]:.3f}, limit {(limits.psi_percent or 0) / 100:.2f}"
    count, least = len(window), limits.minimum_outcomes
    if count < least:
        return None
    of = f"of {count} outcomes in {limits.window_seconds} s"
    accuracy = window.accuracy
    if limits.accuracy_percent is not None and accuracy * 100 < limits.accuracy_percent:
        return f"right: {100 * accuracy:.1f} % {of}, limit {limits.accuracy_percent} %"
    ece = window.ece if limits.ece_percent is not None else None
    if ece is not None and _passes(ece, limits.ece_percent):
        return f"calibration error: {100 * ece:.1f} % {of}, limit {limits.ece_percent} %"
    gap = window.gap(least) if limits.group_gap_percent is not None else None
    if gap is not None and _passes(gap[0], limits.group_gap_percent):
        words = f"errors differ by {100 * gap[0]:.1f} % between groups of {gap[1]}"
        return f"{words}, {of}, limit {limits.group_gap_percent} %"
    return None


def _passes(share: float, percent: int | None) -> bool:
    return percent is not None and share * 100 > percent


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
