"""Searches over several callers: what they were told about neighbourhoods of images.

Each account of a search is told one class about a neighbourhood, its anchor's. Several accounts
are told several, until one of them is another class: that is what they look for. So the last new
rows of all callers are kept for each model, as levels, with their classes. A row *crosses* where
three or more that it nearly repeats, of two or more other callers, all had one other class. A row
that crosses is not kept: who asks for it again, under whatever name, is found again.
"""

import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gateway.sessions.comparison import few_levels, same_version
from gateway.sessions.fingerprints import PrintColumns

KEPT = 1024
"""How many rows are kept for each model."""
ROWS, CALLERS = 3, 2
_FIRST, _AT_ONCE = 16, 64


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
        """Take a caller's new rows of one kind; say which of them cross."""
        own, levels = hash(caller), given.levels
        found: list[bool] = []
        with self._mutex:
            if len(self._levels) != len(levels):
                self._levels, self._count = np.zeros((len(levels), KEPT), np.int8), 0
            for at in range(0, len(given), _AT_ONCE):
                rows = slice(at, at + _AT_ONCE)
                found += self._take(own, levels[:, rows], classes[rows])
        return found

    def _take(
        self, own: int, levels: npt.NDArray[np.int8], classes: npt.NDArray[np.int32]
    ) -> list[bool]:
        # A caller's rows are compared with those of others, not with each other.
        found, keeps = [False] * len(classes), [True] * len(classes)
        for at, places in self._near(levels):
            found[at], again = self._judge(own, levels[:, at], int(classes[at]), places)
            keeps[at] = not found[at] and not again
        self._keep(own, levels[:, keeps], classes[keeps])
        return found

    def _near(self, levels: npt.NDArray[np.int8]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
        """Of each row that nearly repeats any, the places of those."""
        kept = self._levels[:, None, : min(self._count, KEPT)]
        differ = (kept != levels[:, :, None]).sum(axis=0, dtype=np.uint8)
        near = differ <= few_levels(len(levels))
        # In int8 a difference of 128 would be -128, and that its own absolute value.
        off = np.abs(np.subtract(kept[:_FIRST], levels[:_FIRST, :, None], dtype=np.int16))
        # No level is more than one off: the others are looked at where the first are not.
        rows, places = ((off.max(axis=0, initial=0) <= 1) & ~near).nonzero()
        kept_rest, own_rest = self._levels[_FIRST:, places], levels[_FIRST:, rows]
        rest = np.abs(np.subtract(kept_rest, own_rest, dtype=np.int16))
        near[rows, places] = rest.max(axis=0, initial=0) <= 1
        for at in near.any(axis=1).nonzero()[0].tolist():
            yield at, near[at].nonzero()[0]

    def _judge(
        self, own: int, levels: npt.NDArray[np.int8], of: int, places: npt.NDArray[np.intp]
    ) -> tuple[bool, bool]:
        """Whether a row crosses; and whether its caller has asked it before."""
        callers, classes = self._callers[places], self._classes[places]
        again = (self._levels[:, places] == levels[:, None]).all(axis=0) & (callers == own)
        others = (callers != own) & same_version(classes, of)
        told = set(classes[others].tolist())
        several = others.sum() >= ROWS and len(set(callers[others].tolist())) >= CALLERS
        crosses = bool(several) and len(told) == 1 and of not in told
        return crosses, bool(again.any())

    def _keep(self, own: int, levels: npt.NDArray[np.int8], classes: npt.NDArray[np.int32]) -> None:
        places = np.arange(self._count, self._count + len(classes)) % KEPT
        self._callers[places], self._classes[places] = own, classes
        self._levels[:, places] = levels
        self._count += len(classes)
