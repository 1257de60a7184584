"""Rows of callers' sessions: where they are kept, and what a row is beside those before it.

The native package (`sealgate_front.SessionRows`) takes a burst in one call. Where it is not
installed, `NumpyRows` does the same.
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import HASHES, FingerprintColumns, distances

REMEMBERED = 256
"""How many rows of a session are kept."""
NEAR = HASHES // 4
"""Two rows that share so many hashes are near duplicates."""
_FEW_LEVELS, _SHARE = 14, 8
_CLASS_BITS = 16
MOST_CLASSES = 1 << _CLASS_BITS
_Classes = TypeVar("_Classes", int, npt.NDArray[np.int32])
Flags = npt.NDArray[np.bool_]
START = ""
"""The cursor of who has read nothing."""
LONGEST_ROW = 1024
"""How many bytes a row has at most. A longer one was not written by a gateway."""


class Disclosure(IntEnum):
    """The answer that a row's caller got: nothing, its class although it was not clean, or its
    class as that of a clean row.
    """

    NOTHING = 0
    CLASS = 1
    CLEAN = 2


class SeenRow(NamedTuple):
    """One row beside all that are remembered.

    `is_new`: whether it is remembered too. If not, it repeats one of them; or it is an image's near
    duplicate, and `anchor` is the class that answers it, None where it was withheld as those were.
    `near`: it shares a quarter of the hashes with one of them. `touched`: that, or it is close to
    one: no level is more than one off, or few differ. `turned`: one of those has another class; of
    what is answered by an anchor, that one has.
    `gap`: the distance to the nearest of the same class, infinite where there is none, and None for
    texts and for rows that are not new.
    """

    is_new: bool
    near: bool
    touched: bool
    turned: bool
    gap: float | None
    anchor: int | None


class SessionRows(Protocol):
    """The last rows of a session. Not safe for threads."""

    def take(
        self, prints: Sequence[bytes], classes: Sequence[int], told: Sequence[int]
    ) -> Sequence[tuple[bool, bool, bool, bool, float | None, int | None]]:
        """Take rows of one kind, one after another: their encoded fingerprints, their classes (of
        `class_of_version`), and a `Disclosure` of each. Return the fields of a `SeenRow` for each.
        Rows of another kind than those before them begin anew. Raises ValueError for what is no
        fingerprint.
        """
        ...


def session_rows() -> SessionRows:
    """An empty one, the fastest that is installed."""
    try:
        from sealgate_front import SessionRows as NativeRows
    except ImportError:
        return NumpyRows()
    return NativeRows(REMEMBERED)


def few_levels(depth: int) -> int:
    """Of so many levels, how many may be others in a near-duplicate."""
    return max(_FEW_LEVELS, depth // _SHARE)


def class_of_version(label: int, digest: str) -> int:
    """A class below MOST_CLASSES as sessions compare it: that of another version is another."""
    return _version(digest) << _CLASS_BITS | label


# As many versions as are live.
@lru_cache(1024)
def _version(digest: str) -> int:
    return int.from_bytes(hashlib.sha256(digest.encode()).digest()[:2], "big") >> 1


def plain_class(of_version: int) -> int:
    """The class of `class_of_version`."""
    return of_version & (MOST_CLASSES - 1)


def version_of(classes: _Classes) -> _Classes:
    """A value that is the same for the classes of one version: of one class, or of an array of
    them.
    """
    return classes >> _CLASS_BITS


class NumpyRows:
    """See `gateway.sessions.session_rows.SessionRows`."""

    def __init__(self) -> None:
        self._rows: FingerprintColumns | None = None
        self._classes = np.zeros(0, np.int32)
        self._told = np.zeros(0, np.int8)
        self._count = 0

    def take(
        self, prints: Sequence[bytes], classes: Sequence[int], told: Sequence[int]
    ) -> list[SeenRow]:
        given = FingerprintColumns.decode(prints)
        if self._rows is None or not self._rows.is_like(given):
            # A model whose inputs have become others is another model.
            self._rows, self._count = given.part([]), 0
            self._classes, self._told = self._classes[:0], self._told[:0]
        rows = zip(range(len(given)), classes, told, strict=True)
        return [self._take(self._rows, given.part([at]), *each) for at, *each in rows]

    def _take(
        self, rows: FingerprintColumns, given: FingerprintColumns, own: int, told: int
    ) -> SeenRow:
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
        self,
        rows: FingerprintColumns,
        given: FingerprintColumns,
        touched: Flags,
        own: int,
        told: int,
    ) -> tuple[bool, int | None]:
        """Whether an image's near duplicate is answered as those before it, and the class of the
        nearest row of the same version of which the caller was told; of a clean one, of the nearest
        clean one. One that is withheld, as those were that it nearly repeats, says nothing new.
        """
        alike = touched & (version_of(self._classes) == version_of(own))
        places = (alike & (self._told >= max(told, Disclosure.CLASS))).nonzero()[0]
        if not len(places):
            return told == Disclosure.NOTHING and bool(alike.any()), None
        apart = (rows.levels[:, places] != given.levels).sum(axis=0)
        return True, int(self._classes[places[apart.argmin()]])

    def _keep(
        self, rows: FingerprintColumns, given: FingerprintColumns, own: int, told: int
    ) -> None:
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


class Store(Protocol):
    """Where the rows of sessions are kept, so that several gateways see a session together.

    A store keeps what was appended to each session in one order. A gateway appends its rows and
    reads all rows that it has not read yet, its own included, in one round trip, so that all
    gateways come to the same findings. Rows are fingerprints under keyed names.
    """

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """Append rows; return those after `cursor`, oldest first, and the cursor behind them. Where
        the place has lost what `cursor` stands for, return all that it holds.

        Raises SealgateError(SESSION_UNKNOWN) where the place does not answer.
        """
        ...

    def close(self) -> None: ...


class OwnStore:
    """Nobody else's rows: what is appended is what is read."""

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        return list(rows), cursor

    def close(self) -> None:
        pass
