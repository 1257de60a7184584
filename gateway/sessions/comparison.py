"""The rows that a session remembers, and which of them new rows are near or close to.

The native package (`sealgate_front.compare`) compares a burst in one call. Where it is not
installed, numpy does the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import HASHES, PrintColumns, distances

Flags = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int32]

REMEMBERED = 256
"""How many rows of a session are kept."""
NEAR = HASHES // 4
"""Two rows that share so many hashes are near duplicates."""
_FIRST_ROOM = 16
_FIRST_LEVELS = 16
_IS_NEAR, _IS_CLOSE = 1, 2
_FEW_LEVELS, _SHARE = 14, 8
_CLASS_BITS = 16
MOST_CLASSES = 1 << _CLASS_BITS


class Told(IntEnum):
    """What a row's caller was told of it: nothing, its class although it was not clean, or its
    class as that of a clean row.
    """

    NOTHING = 0
    CLASS = 1
    CLEAN = 2


@dataclass(slots=True)
class Ring:
    """The last rows. It grows as rows come, up to REMEMBERED. `told` holds a `Told` of each."""

    prints: PrintColumns
    labels: npt.NDArray[np.int32]
    told: npt.NDArray[np.int8]
    count: int = 0

    @classmethod
    def like(cls, given: PrintColumns) -> "Ring":
        return cls(_blank(given, 0), np.zeros(0, np.int32), np.zeros(0, np.int8))

    @property
    def used(self) -> int:
        return min(self.count, len(self.labels))

    def takes(self, given: PrintColumns) -> bool:
        """Whether prints are of the kind of those before them."""
        kept = self.prints
        sizes = kept.sketches.shape[1], len(kept.levels)
        return sizes == (given.sketches.shape[1], len(given.levels))

    def add(
        self, given: PrintColumns, labels: Classes, told: npt.NDArray[np.int8] | None = None
    ) -> None:
        """`told` is by default that all are clean."""
        if told is None:
            told = np.full(len(given), Told.CLEAN, np.int8)
        self._grow(min(REMEMBERED, self.count + len(given)))
        # What would be overwritten at once is left out.
        start = max(0, len(given) - len(self.labels))
        while start < len(given):
            place = (self.count + start) % len(self.labels)
            end = min(len(given), start + len(self.labels) - place)
            self._put(place, given.part(slice(start, end)), labels[start:end])
            self.told[place : place + end - start] = told[start:end]
            start = end
        self.count += len(given)

    def _put(self, place: int, given: PrintColumns, labels: Classes) -> None:
        places, kept = slice(place, place + len(given)), self.prints
        kept.exact[places], kept.sketches[places] = given.exact, given.sketches
        kept.hashes[:, places], kept.levels[:, places] = given.hashes, given.levels
        self.labels[places] = labels

    def hides(self, rows: int) -> npt.NDArray[np.bool_]:
        """Which rows [rows, used] are forgotten when the next ones come, one after another."""
        overwritten_by = (np.arange(self.used) - self.count) % REMEMBERED
        return overwritten_by < np.arange(rows)[:, None]

    def _grow(self, least: int) -> None:
        room = len(self.labels)
        if least <= room:
            return
        room = max(_FIRST_ROOM, 1 << (least - 1).bit_length())
        kept, grown = self.prints.part(slice(self.used)), _blank(self.prints, room)
        self.prints = grown
        labels, self.labels = self.labels[: self.used], np.zeros(room, np.int32)
        self.labels[: self.used] = labels
        self.told = np.pad(self.told, (0, room - len(self.told)))
        used = len(kept)
        grown.exact[:used], grown.sketches[:used] = kept.exact, kept.sketches
        grown.hashes[:, :used], grown.levels[:, :used] = kept.hashes, kept.levels


def _blank(like: PrintColumns, rows: int) -> PrintColumns:
    return PrintColumns(
        np.zeros(rows, np.uint64),
        np.zeros((HASHES, rows), np.uint16),
        np.zeros((rows, like.sketches.shape[1]), np.float32),
        np.zeros((len(like.levels), rows), np.int8),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SessionComparison:
    """Rows [n] of classes `own` beside all that come before each of them: those of a ring, and the
    first of the rows; `labels` are the classes of them all.

    `near` [n, all] share a quarter of the hashes; `close` [n, all] have no level that is more than
    one off, or few other levels (14, or one in eight), and are none where there are no levels;
    `touched` [n] are near or close to any; `gaps` [n] are distances to the nearest of the same
    class, infinite where there is none, and None for texts. `repeats`: whether any row has come
    before.
    """

    own: Classes
    labels: Classes
    near: Flags
    close: Flags
    touched: list[bool]
    gaps: list[float] | None
    repeats: bool


Comparer: TypeAlias = Callable[[Ring, PrintColumns, Classes], SessionComparison]


def comparer() -> Comparer:
    """The fastest that is installed."""
    try:
        import sealgate_front
    except ImportError:
        return compare_with_numpy
    return compare_natively if hasattr(sealgate_front, "compare") else compare_with_numpy


def compare_natively(ring: Ring, given: PrintColumns, labels: Classes) -> SessionComparison:
    from sealgate_front import compare

    places = ring.count % REMEMBERED, REMEMBERED
    earlier, now = (ring.prints, ring.labels), (given.in_order(), labels)
    flags, touched, gaps, repeats = compare(
        now, earlier, ring.used, places, few_levels(len(given.levels))
    )
    found = np.frombuffer(flags, np.uint8).reshape(len(given), -1)
    return SessionComparison(
        labels,
        _all_labels(ring, labels),
        found & _IS_NEAR != 0,
        found & _IS_CLOSE != 0,
        touched,
        gaps if given.sketches.shape[1] else None,
        repeats,
    )


def compare_with_numpy(ring: Ring, given: PrintColumns, labels: Classes) -> SessionComparison:
    rows, others = len(given), ring.prints.part(slice(ring.used))
    before, hidden = _all_labels(ring, labels), ring.hides(rows)
    if rows > 1:
        others = others.joined(given)
        later = ~np.tri(rows, rows, -1, np.bool_)
        hidden = np.concatenate([hidden, later], axis=1)
    same = others.hashes[:, None] == given.hashes[:, :, None]
    shared = same.view(np.uint8).sum(axis=0, dtype=np.uint8)
    near = (shared >= NEAR) & ~hidden
    close = _closeness(given, others.levels, hidden)
    gaps: list[float] | None = None
    if given.sketches.shape[1]:
        apart = distances(given.sketches, others.sketches)
        apart[hidden | (labels[:, None] != before)] = np.inf
        gaps = apart.min(axis=1, initial=np.inf).tolist()
    repeats = bool((near & (given.exact[:, None] == others.exact)).any())
    touched = (near | close).any(axis=1).tolist()
    return SessionComparison(labels, before, near, close, touched, gaps, repeats)


def _all_labels(ring: Ring, labels: Classes) -> Classes:
    """Those of the ring, and of the rows themselves, if there are several."""
    before = ring.labels[: ring.used]
    return np.concatenate([before, labels]) if len(labels) > 1 else before


def _closeness(given: PrintColumns, levels: npt.NDArray[np.int8], hidden: Flags) -> Flags:
    if not len(levels):
        return np.zeros_like(hidden)
    first = slice(_FIRST_LEVELS)
    # In int8 a difference of 128 would be -128, and that its own absolute value.
    off = np.abs(np.subtract(levels[first, None], given.levels[first, :, None], dtype=np.int16))
    found: Flags = (off.max(axis=0) <= 1) & ~hidden
    # The other levels, of the few pairs that are not told apart by so many.
    rows, others_at = found.nonzero()
    ours, theirs = given.levels[_FIRST_LEVELS:, rows], levels[_FIRST_LEVELS:, others_at]
    rest = np.abs(np.subtract(ours, theirs, dtype=np.int16))
    found[rows, others_at] = (rest <= 1).all(axis=0)
    differ = (levels[:, None] != given.levels[:, :, None]).sum(axis=0, dtype=np.uint8)
    found |= (differ <= few_levels(len(given.levels))) & ~hidden
    return found


def few_levels(depth: int) -> int:
    """Of so many levels, how many may be others in a near-duplicate."""
    return max(_FEW_LEVELS, depth // _SHARE)


def class_of_version(label: int, digest: str) -> int:
    """A class below MOST_CLASSES as sessions compare it: that of another version is another."""
    version = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:2], "big") >> 1
    return version << _CLASS_BITS | label


def plain_class(of_version: int) -> int:
    """The class of `class_of_version`."""
    return of_version & (MOST_CLASSES - 1)


def same_version(classes: Classes, one: int) -> Flags:
    """Which of `classes` are of the version that `one` is of."""
    found: Flags = classes >> _CLASS_BITS == one >> _CLASS_BITS
    return found
