"""Thresholds of texts that are read in windows, by how many windows a text has.

A text is called an injection, say, if any of its windows is, so the highest window counts, and
longer texts would be called it more often. So each class of length (`lengths`) has a threshold of
its own, at which its bound holds for the slice's texts of that length, and for as long a part of
the long texts in a row (`inference.text.text_windows.added`).

Texts of few windows are no part of that row: what is written at length is unlike many prompts one
behind the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inference.screening.calibration import conformal_rank
from inference.text.text_windows import added
from sealgate.reasons import Reason, SealgateError
from training.data import Classes
from training.recipe.recipe import AlarmsSection

LONG = 4
"""Texts of fewer windows are none of the long ones."""
# Of a row, texts of more windows are too few to say anything.
_MOST = 128
Leads = npt.NDArray[np.float32]
"""By how much the class that is looked for leads all others."""


@dataclass(frozen=True, slots=True, eq=False)
class ByText:
    """Of each text, the highest of its windows' leads [n], and how many windows it has [n]."""

    highest: Leads
    windows: Classes

    @classmethod
    def of(cls, leads: Leads, texts: Classes) -> "ByText":
        """Of windows, each of the text with that number."""
        _, place, windows = np.unique(texts, return_inverse=True, return_counts=True)
        highest = np.full(len(windows), -np.inf, np.float32)
        np.maximum.at(highest, place, leads)
        return cls(highest, windows)

    def between(self, least: int, end: float) -> "ByText":
        """Those of at least so many windows, and fewer than `end`."""
        chosen = (self.windows >= least) & (self.windows < end)
        return ByText(self.highest[chosen], self.windows[chosen])

    def threshold(self, place: int, by_windows: Mapping[int, int]) -> np.float32:
        """The highest but `place` - 1 of them, each less what its length adds to the threshold, in
        hundredths.
        """
        raised = np.array([added(by_windows, int(each)) for each in self.windows], np.float32) / 100
        return np.float32(np.sort(self.highest - raised)[-place])


@dataclass(frozen=True, slots=True)
class Threshold:
    """Of `texts` clean ones, that at place `rank` from the highest is the `threshold` of a single
    window; `by_windows` is what longer texts add, in hundredths, from so many windows on.
    """

    texts: int
    rank: int
    threshold: np.float32
    by_windows: Mapping[int, int] = field(default_factory=dict)


def settled_threshold(clean: ByText, row: Leads, asked: AlarmsSection) -> Threshold:
    """Of clean texts, and of the windows of a row of long ones (not read where the threshold is the
    same at all lengths). Raises CALIBRATION_TOO_SMALL.
    """
    if asked.lengths:
        return _by_class(clean, row, asked)
    place = rank(len(clean.highest), asked)
    return Threshold(len(clean.highest), place, clean.threshold(place, {}))


def rank(texts: int, asked: AlarmsSection) -> int:
    """Raises CALIBRATION_TOO_SMALL where so many texts cannot back the bound."""
    place = conformal_rank(texts, asked.bound, asked.confidence) if texts else 0
    if place == 0:
        raise _too_few(texts, asked.bound)
    return place


def _too_few(texts: int, bound: float) -> SealgateError:
    detail = f"{texts} texts of other classes cannot back {bound}"
    return SealgateError(Reason.CALIBRATION_TOO_SMALL, detail)


def _by_class(clean: ByText, row: Leads, asked: AlarmsSection) -> Threshold:
    short = clean.between(1, asked.lengths[0])
    place = rank(len(short.highest), asked)
    base = short.threshold(place, {})
    steps, reached = {}, 0
    for begin, end in pairwise((*asked.lengths, np.inf)):
        bound = asked.long_bound if asked.long_bound and begin >= LONG else asked.bound
        own = clean.between(int(begin), end).highest
        cut = _highest_of(row, int(min(2 * begin, end - 1, _MOST)))
        needed = list(_backed((own, cut), bound, asked.confidence))
        if not needed:
            raise _too_few(max(len(own), len(cut)), bound)
        # A longer text may hold a short one, so no class has a lower threshold than the one before.
        reached = max(reached, int(np.ceil(100 * (max(needed) - base))))
        steps[int(begin)] = reached
    return Threshold(len(short.highest), place, base, steps)


def _backed(samples: tuple[Leads, ...], bound: float, confidence: float) -> Iterator[float]:
    """The threshold of each sample that is large enough for the bound."""
    for each in samples:
        place = conformal_rank(len(each), bound, confidence) if len(each) else 0
        if place:
            yield float(np.sort(each)[-place])


def of_long_texts(texts: Classes) -> npt.NDArray[np.bool_]:
    """Whether each window [n], of the text with that number, is of a long one: there are `LONG` of
    it. Of no window where no text is long, all are, so that there is a row.
    """
    _, place, windows = np.unique(texts, return_inverse=True, return_counts=True)
    is_long: npt.NDArray[np.bool_] = (windows >= LONG)[place]
    return is_long if is_long.any() else np.ones(len(texts), bool)


def _highest_of(row: Leads, windows: int) -> Leads:
    """Of each so many windows of a row the highest lead; a rest is left out."""
    whole = len(row) // windows
    highest: Leads = row[: whole * windows].reshape(whole, windows).max(1, initial=-np.inf)
    return highest
