"""Searches over several callers: what they were told about neighbourhoods of images.

Each account of a search is told one class about a neighbourhood, its anchor's. Several accounts
are told several, until one of them is another class: that is what they look for. So the last new
rows of all callers are kept for each model, as levels, with their classes. A row *crosses* where
three or more that it nearly repeats, of two or more other callers, all had one other class. A row
that crosses is not kept: who asks for it again, under whatever name, is found again.
"""

import threading

import numpy as np
import numpy.typing as npt

from gateway.sessions.comparison import few_levels, same_version
from gateway.sessions.fingerprints import PrintColumns

KEPT = 2048
"""How many rows are kept for each model."""
ROWS, CALLERS = 3, 2
_FIRST, _MOST_OF_FIRST = 16, 8


class Neighbourhoods:
    """Those of one model. Safe for many threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._callers = np.zeros(KEPT, np.int64)
        self._classes = np.zeros(KEPT, np.int32)
        self._levels = np.zeros((0, KEPT), np.int8)
        self._count = 0

    def crossed(
        self, caller: str, given: PrintColumns, classes: npt.NDArray[np.int32]
    ) -> list[bool]:
        """Take a caller's new rows of one kind, one after another; say which of them cross."""
        own = hash(caller)
        with self._mutex:
            if len(self._levels) != len(given.levels):
                self._levels, self._count = np.zeros((len(given.levels), KEPT), np.int8), 0
            return [
                self._take(own, given.levels[:, at], int(classes[at])) for at in range(len(given))
            ]

    def _take(self, own: int, levels: npt.NDArray[np.int8], of: int) -> bool:
        used = min(self._count, KEPT)
        near, same_row = self._near(levels, used)
        callers, classes = self._callers[near], self._classes[near]
        others = (callers != own) & same_version(classes, of)
        told = set(classes[others].tolist())
        several = others.sum() >= ROWS and len(set(callers[others].tolist())) >= CALLERS
        if several and len(told) == 1 and of not in told:
            return True
        if not (same_row & (callers == own)).any():
            place = self._count % KEPT
            self._callers[place], self._classes[place] = own, of
            self._levels[:, place] = levels
            self._count += 1
        return False

    def _near(
        self, levels: npt.NDArray[np.int8], used: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """The places of rows that a row nearly repeats; and which of them have all its levels."""
        first = self._levels[:_FIRST, :used] != levels[:_FIRST, None]
        apart = np.abs(self._levels[:_FIRST, :used] - levels[:_FIRST, None]).max(axis=0, initial=0)
        likely = (first.sum(axis=0, dtype=np.uint8) <= _MOST_OF_FIRST) | (apart <= 1)
        places = likely.nonzero()[0]
        off = np.abs(self._levels[:, places] - levels[:, None])
        differ = (off != 0).sum(axis=0)
        near = (differ <= few_levels(len(levels))) | (off.max(axis=0, initial=0) <= 1)
        return places[near], (differ == 0)[near]
