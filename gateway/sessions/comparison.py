"""What a row of a session is beside those before it (`SeenRow`).

The native package (`sealgate_front.SessionRows`) takes a burst in one call. Where it is not
installed, numpy does the same (`numpy_rows`).
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.sessions.fingerprints import HASHES

REMEMBERED = 256
"""How many rows of a session are kept."""
NEAR = HASHES // 4
"""Two rows that share so many hashes are near duplicates."""
_FEW_LEVELS, _SHARE = 14, 8
_CLASS_BITS = 16
MOST_CLASSES = 1 << _CLASS_BITS
_Classes = TypeVar("_Classes", int, npt.NDArray[np.int32])


class Told(IntEnum):
    """What a row's caller was told of it: nothing, its class although it was not clean, or its
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
        """Take rows of one kind, one after another: their encoded prints, their classes (of
        `class_of_version`), and a `Told` of each. Return the fields of a `SeenRow` for each. Rows
        of another kind than those before them begin anew. Raises ValueError for what is no print.
        """
        ...


def session_rows() -> SessionRows:
    """An empty one, the fastest that is installed."""
    try:
        from sealgate_front import SessionRows as NativeRows
    except ImportError:
        from gateway.sessions.numpy_rows import NumpyRows

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
    """What is the same for the classes of one version: of one class, or of an array of them."""
    return classes >> _CLASS_BITS
