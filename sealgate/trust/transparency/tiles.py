"""Tiles of a log's tree (C2SP tlog-tiles), and proofs computed from them.

A tile of level L and index N holds up to 256 hashes of the tree's level 8 L, from 256 N on, each
the root of a complete subtree. What lies between those levels is hashed again when it is needed.
How a tree grows is in `frontier`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import merkle
from sealgate.trust.transparency.merkle import HASH_SIZE

HEIGHT = 8
WIDTH = 256


class TileReader(Protocol):
    """A source of tiles."""

    def read(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, 32 * `width` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile; `hashes` has 32 bytes for each of its `width` hashes."""

    level: int
    index: int
    hashes: bytes

    @property
    def width(self) -> int:
        return len(self.hashes) // HASH_SIZE

    @property
    def path(self) -> str:
        """The path at which the tile is published: `tile/0/x001/067`, with `.p/<width>` while
        partial.
        """
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int, index: int, width: int) -> str:
    """Return the path of a tile: its index in groups of three digits, all but the last with x."""
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def partial_width(level: int, size: int) -> int:
    """Return how many hashes the unfinished tile of a level has in a tree of `size`; 0 for none."""
    return (size >> (HEIGHT * level)) % WIDTH


def tree_root(reader: TileReader, size: int) -> bytes:
    """Return the root of the tree of `size`. Raises SealgateError(LOG_INCONSISTENT) for a short
    tile.
    """
    if size == 0:
        return merkle.EMPTY_ROOT
    return _Tree(reader, size).rests[-1]


def inclusion_proof(reader: TileReader, index: int, size: int) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` (RFC 9162, 2.1.3.1).

    Raises SealgateError: ENTRY_UNKNOWN if it is not, LOG_INCONSISTENT for a short tile.
    """
    return inclusion_proofs(reader, [index], size)[0]


def inclusion_proofs(reader: TileReader, indices: Iterable[int], size: int) -> list[list[bytes]]:
    """Return the proofs of several leaves, for which each tile is read once. Raises likewise."""
    tree = _Tree(reader, size)
    proofs = []
    for index in indices:
        if not 0 <= index < size:
            raise SealgateError(Reason.ENTRY_UNKNOWN, f"entry {index} of {size}")
        proofs.append(list(tree.path(0, index)))
    return proofs


def consistency_proof(reader: TileReader, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `new` adds to that of `old` (RFC 9162, 2.1.4.1).

    Raises SealgateError: ENTRY_UNKNOWN for sizes out of order, LOG_INCONSISTENT for a short tile.
    """
    if not 0 <= old <= new:
        raise SealgateError(Reason.ENTRY_UNKNOWN, f"sizes {old} and {new}")
    if old in (0, new):
        return []
    tree = _Tree(reader, new)
    # The largest complete subtree that ends where the old tree does.
    level, node = 0, old - 1
    while node % 2:
        level, node = level + 1, node >> 1
    start = [tree.node(level, node)] if node else []
    return [*start, *tree.path(level, node)]


class _Tree:
    """A tree of `size` leaves: complete subtrees come from tiles, the ragged edge is hashed.

    `rests[level]` is the root of the leaves that complete subtrees of that level do not cover.
    """

    def __init__(self, reader: TileReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}
        self.rests = [b""]
        for level in range(size.bit_length()):
            rest = self.rests[level]
            if (size >> level) % 2:
                peak = self.node(level, (size >> level) - 1)
                rest = merkle.node_hash(peak, rest) if rest else peak
            self.rests.append(rest)

    def path(self, level: int, node: int) -> Iterator[bytes]:
        """Yield the siblings from a complete subtree up to the root."""
        while level < (self._size - 1).bit_length():
            sibling, complete = node ^ 1, self._size >> level
            if sibling < complete:
                yield self.node(level, sibling)
            elif sibling == complete and self.rests[level]:
                yield self.rests[level]
            level, node = level + 1, node >> 1

    def node(self, level: int, node: int) -> bytes:
        """Return the root of the complete subtree number `node` of `level`."""
        tile_level, above = divmod(level, HEIGHT)
        index, offset = divmod(node << above, WIDTH)
        return self._tile(tile_level, index)[above][offset >> above]

    def _tile(self, level: int, index: int) -> list[list[bytes]]:
        """The hashes of a tile, and those of the levels above that are hashed from them."""
        levels = self._tiles.get((level, index))
        if levels is None:
            width = min(WIDTH, (self._size >> (HEIGHT * level)) - WIDTH * index)
            data = self._reader.read(level, index, width)
            if len(data) != width * HASH_SIZE:
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"tile {level}/{index} is not {width} wide"
                )
            levels = [[data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]]
            for below in levels:
                if len(below) > 1 and len(levels) < HEIGHT:
                    pairs = zip(below[::2], below[1::2], strict=False)
                    levels.append([merkle.node_hash(left, right) for left, right in pairs])
            self._tiles[level, index] = levels
        return levels
