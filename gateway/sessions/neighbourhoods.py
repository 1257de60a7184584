"""Searches over several callers: what they were told about neighbourhoods of images.

Each account of a search is told one class about a neighbourhood, its anchor's. Several accounts
are told several, until one of them is another class: that is what they look for. So the last new
rows of all callers are kept for each model, as levels, with their classes. A row *crosses* where
three or more that it nearly repeats, of two or more other callers, all had one other class. A row
that crosses is not kept: who asks for it again, under whatever name, is found again.

The native package (`sealgate_front.Neighbourhoods`) takes a burst in one call. Where it is not
installed, numpy does the same (`NumpyKept`).
"""

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import FingerprintColumns
from gateway.sessions.session_rows import are_close, version_of

KEPT = 1024
"""How many rows are kept for each model."""
ROWS, CALLERS = 3, 2
_AT_ONCE = 64


class KeptRows(Protocol):
    """The last rows of all callers of a model. Not safe for threads."""

    def crossed(self, caller: int, prints: Sequence[bytes], classes: Sequence[int]) -> list[bool]:
        """Take a caller's new rows of one kind, their encoded prints and their classes (of
        `class_of_version`); say which of them cross. Raises ValueError for what is no print.
        """
        ...


class Neighbourhoods:
    """Those of one model. Safe for many threads."""

    def __init__(self, kept: KeptRows | None = None) -> None:
        """`kept` is by default the fastest that is installed."""
        self._kept = kept or _kept_rows()
        self._mutex = threading.Lock()

    def crossed(self, caller: str, prints: Sequence[bytes], classes: Sequence[int]) -> list[bool]:
        """See `KeptRows.crossed`."""
        with self._mutex:
            return self._kept.crossed(hash(caller), prints, classes)


def _kept_rows() -> KeptRows:
    try:
        from sealgate_front import Neighbourhoods as NativeKept
    except ImportError:
        return NumpyKept()
    return NativeKept(KEPT)


class NumpyKept:
    """See `KeptRows`."""

    def __init__(self) -> None:
        self._callers = np.zeros(KEPT, np.int64)
        self._classes = np.zeros(KEPT, np.int32)
        self._levels = np.zeros((0, KEPT), np.int8)
        self._count = 0

    def crossed(self, caller: int, prints: Sequence[bytes], classes: Sequence[int]) -> list[bool]:
        levels = FingerprintColumns.decode(prints).levels
        if len(self._levels) != len(levels):
            self._levels, self._count = np.zeros((len(levels), KEPT), np.int8), 0
        found: list[bool] = []
        # A caller's rows are compared with those of others, not with each other.
        for start in range(0, len(prints), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(prints)))
            judged = [self._judge(caller, levels[:, [at]], classes[at]) for at in some]
            for at, (crosses, again) in zip(some, judged, strict=True):
                if not crosses and not again:
                    self._keep(caller, levels[:, at], classes[at])
            found += [crosses for crosses, _ in judged]
        return found

    def _judge(self, own: int, levels: npt.NDArray[np.int8], of: int) -> tuple[bool, bool]:
        """Whether a row crosses; and whether its caller has asked it before."""
        used = min(self._count, KEPT)
        places = are_close(self._levels[:, :used], levels).nonzero()[0]
        callers, classes = self._callers[places], self._classes[places]
        again = (self._levels[:, places] == levels).all(axis=0) & (callers == own)
        others = (callers != own) & (version_of(classes) == version_of(of))
        told = set(classes[others].tolist())
        several = others.sum() >= ROWS and len(set(callers[others].tolist())) >= CALLERS
        return bool(several) and len(told) == 1 and of not in told, bool(again.any())

    def _keep(self, own: int, levels: npt.NDArray[np.int8], of: int) -> None:
        place = self._count % KEPT
        self._callers[place], self._classes[place] = own, of
        self._levels[:, place] = levels
        self._count += 1
