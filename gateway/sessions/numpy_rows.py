"""The last rows of a session, compared with numpy as `sealgate_front.SessionRows` compares them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gateway.sessions.comparison import (
    NEAR,
    REMEMBERED,
    SeenRow,
    Told,
    few_levels,
    version_of,
)
from gateway.sessions.fingerprints import PrintColumns, distances

Flags = npt.NDArray[np.bool_]


class NumpyRows:
    """See `gateway.sessions.comparison.SessionRows`."""

    def __init__(self) -> None:
        self._rows: PrintColumns | None = None
        self._classes = np.zeros(0, np.int32)
        self._told = np.zeros(0, np.int8)
        self._count = 0

    def take(
        self, prints: Sequence[bytes], classes: Sequence[int], told: Sequence[int]
    ) -> list[SeenRow]:
        given = PrintColumns.decode(prints)
        if self._rows is None or not self._rows.is_like(given):
            # A model whose inputs have become others is another model.
            self._rows, self._count = given.part([]), 0
            self._classes, self._told = self._classes[:0], self._told[:0]
        rows = zip(range(len(given)), classes, told, strict=True)
        return [self._take(self._rows, given.part([at]), *each) for at, *each in rows]

    def _take(self, rows: PrintColumns, given: PrintColumns, own: int, told: int) -> SeenRow:
        near = (rows.hashes == given.hashes).sum(axis=0) >= NEAR
        touched = near | are_close(rows.levels, given.levels)
        turned = bool((self._classes[touched] != own).any())
        seen = bool(near.any()), bool(touched.any()), turned
        if (near & (rows.exact == given.exact)).any():
            # Asked again: nobody learns from that what they did not know.
            return SeenRow(False, *seen, None, None)
        if len(given.levels) and touched.any():
            known, anchor = self._anchor(rows, given, touched, own, told)
            if known:
                turned = anchor is not None and anchor != own
                return SeenRow(False, *seen[:2], turned, None, anchor)
        gap: float | None = None
        if given.sketches.shape[1]:
            apart = distances(given.sketches, rows.sketches)[0, self._classes == own]
            gap = float(apart.min(initial=np.inf))
        self._keep(rows, given, own, told)
        return SeenRow(True, *seen, gap, None)

    def _anchor(
        self, rows: PrintColumns, given: PrintColumns, touched: Flags, own: int, told: int
    ) -> tuple[bool, int | None]:
        """Whether an image's near duplicate is answered as those before it, and the class of the
        nearest row of the same version of which the caller was told; of a clean one, of the nearest
        clean one. One that is withheld, as those were that it nearly repeats, says nothing new.
        """
        alike = touched & (version_of(self._classes) == version_of(own))
        places = (alike & (self._told >= max(told, Told.CLASS))).nonzero()[0]
        if not len(places):
            return told == Told.NOTHING and bool(alike.any()), None
        apart = (rows.levels[:, places] != given.levels).sum(axis=0)
        return True, int(self._classes[places[apart.argmin()]])

    def _keep(self, rows: PrintColumns, given: PrintColumns, own: int, told: int) -> None:
        if self._count < REMEMBERED:
            self._rows = rows.joined(given)
            self._classes = np.append(self._classes, np.int32(own))
            self._told = np.append(self._told, np.int8(told))
        else:
            place = self._count % REMEMBERED
            rows.put(place, given)
            self._classes[place], self._told[place] = own, told
        self._count += 1


def are_close(levels: npt.NDArray[np.int8], own: npt.NDArray[np.int8]) -> Flags:
    """Which rows' levels [depth, n] are close to those of one row, [depth, 1]. Where there are no
    levels, none is.
    """
    if not len(levels):
        return np.zeros(levels.shape[1], np.bool_)
    # In int8 a difference of 128 would be -128, and that its own absolute value.
    off = np.abs(np.subtract(levels, own, dtype=np.int16)).max(axis=0, initial=0)
    differ = (levels != own).sum(axis=0)
    found: Flags = (off <= 1) | (differ <= few_levels(len(levels)))
    return found
