"""Fingerprints of inputs: keyed hashes by which near-duplicates are found.

Without the key, nobody learns anything of an input from its fingerprint, or can forge one.

Numbers follow Blacklight (Li et al., arXiv 2006.14042): a row is quantized, and 64 keyed hashes of
16 of its elements each are kept. Two rows share a hash where all 16 fall into the same steps; so
rows that differ in few elements, or in all by little, share many, and rows that merely look alike
share next to none. Of fewer than 12 elements that does not hold: there most honest rows fall into
the same steps as another, and only the same row shares any hash. Where Blacklight slides windows,
the elements are drawn by the key, and each has an offset of its own before it is rounded, so that
no step's edge can be walked along.

A sketch stands beside the hashes: 32 keyed random projections, rounded to a byte each, which keep
distances to about an eighth (Johnson and Lindenstrauss). PRADA's test needs distances.

Hashes and sketches do not see a move of every element by a little less than an attack may: it
leaves no 16 elements as they were, and is as long as the way between honest rows. But no element
moves far, which tells it from them. So the levels of up to 192 elements are kept too, drawn by the
key, each rounded down to a fifth of the domain from an offset of its own. The levels of rows that
differ by a fifth at most in every element differ by one at most; by two fifths in one of those
drawn, by more. That says something only where elements are measured alike: see `Fingerprinter.of`.

Texts and tokens have min-wise hashes of their pairs of neighbours instead, no sketch and no levels.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import sealgate_front

HASHES = 64
SKETCH = 32
LEVELS = 192
FEWEST_LEVELS = 64
_ELEMENTS = 16
_FEWEST_ELEMENTS = 12
# Of the domain's width: coarse enough to see through small noise.
_STEP = 0.2
_SKETCH_STEP = 1 / 16
_LEVELS = (0, *range(FEWEST_LEVELS, LEVELS + 1))
_WORD = np.uint64(0xFFFFFFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)

Array = npt.NDArray[Any]
_WITHOUT_LEVELS = 8 + 2 * HASHES + SKETCH


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`hashes` uint16 [64]; `exact` is the same only for the same row; `sketch` int8 [32], or of no
    elements for texts; `levels` int8 [64 to 192], or of no elements where they would say nothing.
    """

    hashes: npt.NDArray[np.uint16]
    exact: bytes
    sketch: npt.NDArray[np.int8]
    levels: npt.NDArray[np.int8]

    def encode(self) -> bytes:
        parts = (self.hashes, self.sketch, self.levels)
        return self.exact + b"".join(part.tobytes() for part in parts)


@dataclass(frozen=True, slots=True, eq=False)
class FingerprintColumns:
    """The prints of rows of one kind, by part: `exact` uint64 [n], `hashes` uint16 [64, n],
    `sketches` float32 [n, 32 or 0], which hold whole numbers, and `levels` int8 [n levels, n].
    """

    exact: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint16]
    sketches: npt.NDArray[np.float32]
    levels: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.exact)

    def part(self, rows: slice | list[int]) -> "FingerprintColumns":
        parts = self.exact[rows], self.hashes[:, rows], self.sketches[rows], self.levels[:, rows]
        return FingerprintColumns(*parts)

    def is_like(self, other: "FingerprintColumns") -> bool:
        """Whether they are of one kind, so that they can be joined."""
        sizes = self.sketches.shape[1], len(self.levels)
        return sizes == (other.sketches.shape[1], len(other.levels))

    def joined(self, behind: "FingerprintColumns") -> "FingerprintColumns":
        return FingerprintColumns(
            np.concatenate([self.exact, behind.exact]),
            np.concatenate([self.hashes, behind.hashes], axis=1),
            np.concatenate([self.sketches, behind.sketches]),
            np.concatenate([self.levels, behind.levels], axis=1),
        )

    def put(self, place: int, one: "FingerprintColumns") -> None:
        """Put a row in the place of another."""
        self.exact[place], self.sketches[place] = one.exact[0], one.sketches[0]
        self.hashes[:, place], self.levels[:, place] = one.hashes[:, 0], one.levels[:, 0]

    @classmethod
    def decode(cls, rows: Sequence[bytes]) -> "FingerprintColumns":
        """Read what `Fingerprint.encode` wrote of rows of one kind. Raises ValueError."""
        size = len(rows[0]) - 8 - 2 * HASHES
        sketch = min(size, SKETCH)
        if sketch not in (0, SKETCH) or size - sketch not in _LEVELS:
            raise ValueError("a sketch, or levels, of another size")
        data = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        hashes = np.ascontiguousarray(data[:, 8 : 8 + 2 * HASHES]).view(np.uint16)
        rest = data[:, 8 + 2 * HASHES :].view(np.int8)
        return cls(
            np.ascontiguousarray(data[:, :8]).view(np.uint64)[:, 0],
            np.ascontiguousarray(hashes.T),
            rest[:, :sketch].astype(np.float32),
            np.ascontiguousarray(rest[:, sketch:].T),
        )


class Fingerprinter:
    """Makes the fingerprints of one model's rows with one secret key of 32 bytes."""

    def __init__(self, key: bytes, model: str) -> None:
        self._key = key
        self._model = model.encode()
        self._tables: dict[int, _Tables] = {}

    def of(self, rows: Array, low: float, high: float, alike: bool = False) -> list[Fingerprint]:
        """The prints of rows: numbers [n, …] of a domain from `low` to `high`; tokens int64 [n, s];
        or texts [n], as bytes. `alike` says that a row's elements are measured alike; such rows
        have levels, if they have 64 elements or more. In a table's few columns, each of a range of
        its own, most honest rows lie close to another.
        """
        if (texts := self._texts(rows)) is not None:
            return texts
        tables, scaled, exact = self._read(rows, low, high)
        parts = tables.sketches(scaled), tables.levels(scaled, alike)
        return [
            Fingerprint(*each) for each in zip(tables.hashes(scaled), exact, *parts, strict=True)
        ]

    def encoded(self, rows: Array, low: float, high: float, alike: bool = False) -> list[bytes]:
        """The same as `Fingerprint.encode` writes them."""
        if (texts := self._texts(rows)) is not None:
            return [each.encode() for each in texts]
        tables, scaled, exact = self._read(rows, low, high)
        sketches = tables.sketches(scaled)
        if tables.native is not None:
            return tables.native.encoded(scaled, exact, sketches, alike)
        parts = tables.hashes(scaled), sketches, tables.levels(scaled, alike)
        first = np.frombuffer(b"".join(exact), np.uint8).reshape(len(exact), -1)
        every = np.concatenate(
            [first, *(np.ascontiguousarray(part).view(np.uint8) for part in parts)], axis=1
        )
        size, data = every.shape[1], every.tobytes()
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _texts(self, rows: Array) -> list[Fingerprint] | None:
        """None where rows are numbers."""
        if rows.dtype == object:
            return [self._text([bytes(word) for word in text.split()]) for text in rows.ravel()]
        if rows.dtype == np.int64:
            return [self._text([b"%d" % token for token in row if token >= 0]) for row in rows]
        return None

    def _read(self, rows: Array, low: float, high: float) -> "tuple[_Tables, Array, list[bytes]]":
        """The tables for such rows, the rows [n, width] scaled to 0 … 1, and what is the same only
        for the same row.
        """
        flat = np.ascontiguousarray(rows.reshape(len(rows), -1), np.float32)
        tables = self._tables.get(flat.shape[1])
        if tables is None:
            # One for each width that the model takes, which is one.
            tables = self._tables[flat.shape[1]] = _Tables(self._key, self._model, flat.shape[1])
        size, data = flat.shape[1] * flat.itemsize, flat.tobytes()
        exact = [self._exact(data[at : at + size]) for at in range(0, len(data), size)]
        return tables, (flat - low) / (high - low), exact

    def _exact(self, row: bytes) -> bytes:
        return hashlib.blake2b(row, digest_size=8, key=self._key, person=b"exact").digest()

    def _text(self, words: list[bytes]) -> Fingerprint:
        # The last word's neighbour is the end; where there are none, the end alone.
        pairs = {b"\0".join(pair) for pair in pairwise([*words, b""])} or {b""}
        lowest = np.full(HASHES, _WORD, np.uint32)
        for pair in pairs:
            digest = hashlib.shake_256(self._key + self._model + b"\0" + pair).digest(4 * HASHES)
            np.minimum(lowest, np.frombuffer(digest, np.uint32), out=lowest)
        none = np.empty(0, np.int8)
        # The low half: of the lowest of many, the high one is nearly always 0.
        return Fingerprint(lowest.astype(np.uint16), self._exact(b"\n".join(words)), none, none)


class _Tables:
    """The elements and projections that the key draws for rows of one width."""

    def __init__(self, key: bytes, model: bytes, width: int) -> None:
        elements = min(_ELEMENTS, width)
        drawn = _Stream(hashlib.shake_256(key + model + b"\0%d" % width))
        order = drawn.words(HASHES * width).reshape(HASHES, width).argsort(axis=1)
        places = order[:, :elements]
        offsets = drawn.units(HASHES * elements).astype(np.float32).reshape(HASHES, elements)
        # Odd multipliers make a hash that is universal over the steps of its elements.
        factors = drawn.words(HASHES * elements).reshape(HASHES, elements) | np.uint64(1)
        signs = np.where(drawn.words(width * SKETCH) & np.uint64(1), 1.0, -1.0)
        self._projection = signs.reshape(width, SKETCH).astype(np.float32) / np.sqrt(SKETCH)
        kept = min(LEVELS, width) if width >= FEWEST_LEVELS else 0
        of_levels = drawn.words(width).argsort()[:kept], drawn.units(kept).astype(np.float32)
        native = _native_tables()
        tables = (places, offsets, factors, *of_levels)
        flat: list[Any] = [each.ravel().tolist() for each in tables]
        self.native = None if native is None else native(width, *flat)
        self._places, self._offsets, self._factors, self._kept, self._starts = tables

    def hashes(self, rows: Array) -> npt.NDArray[np.uint16]:
        """Rows [n, width], scaled to 0 … 1, to [n, 64]."""
        if rows.shape[1] < _FEWEST_ELEMENTS:
            steps = rows.astype(np.float32).view(np.int32)[:, self._places].astype(np.int64)
        else:
            steps = np.floor(rows[:, self._places] / _STEP + self._offsets).astype(np.int64)
        mixed = (steps.astype(np.uint64) * self._factors).sum(axis=2) * _MIX
        return (mixed >> np.uint64(48)).astype(np.uint16)

    def levels(self, rows: Array, alike: bool) -> npt.NDArray[np.int8]:
        """Rows [n, width], scaled to 0 … 1, to [n, 64 to 192], or [n, 0] of fewer elements, and of
        those that are not measured alike.
        """
        if not alike:
            return np.empty((len(rows), 0), np.int8)
        steps = np.floor(rows[:, self._kept] / _STEP + self._starts)
        return _bytes(steps)

    def sketches(self, rows: Array) -> npt.NDArray[np.int8]:
        steps = np.rint(rows @ self._projection / _SKETCH_STEP)
        return _bytes(steps)


def _native_tables() -> "type[sealgate_front.PrintTables] | None":
    """The native package's, if it is installed: the same numbers in a fifth of the time."""
    try:
        import sealgate_front
    except ImportError:
        return None
    return getattr(sealgate_front, "PrintTables", None)


def _bytes(steps: Array) -> npt.NDArray[np.int8]:
    # Faster than np.clip, for as few numbers.
    return np.minimum(np.maximum(steps, -127), 127).astype(np.int8)


class _Stream:
    """Numbers from an extendable output, so that only the key's holder can draw them again."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._used = 0

    def words(self, number: int) -> npt.NDArray[np.uint64]:
        start, self._used = self._used, self._used + 8 * number
        return np.frombuffer(self._source.digest(self._used)[start:], np.uint64)

    def units(self, number: int) -> npt.NDArray[np.float64]:
        """From 0 to 1."""
        return self.words(number) / 2.0**64


def has_levels(encoded: bytes) -> bool:
    """Whether an encoded print has levels: that of an image."""
    return len(encoded) > _WITHOUT_LEVELS


def distances(
    some: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """About how far rows lie from each of others [n, m], by sketches [n, 32] and [m, 32]; in units
    of the domain's width, as the Euclidean distance is. In float32 such sums of squares are exact.
    """
    lengths = (some * some).sum(axis=1)[:, None] + (others * others).sum(axis=1)
    return np.sqrt(lengths - 2 * (some @ others.T)) * np.float32(_SKETCH_STEP)
