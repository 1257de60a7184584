"""A log's Merkle tree: its tiles (C2SP tlog-tiles), its growing right edge, and proofs from both.

A tile of level L and index N holds up to 256 hashes of the tree's level 8 L, from 256 N on, each
the root of a complete subtree. The levels in between are hashed again when they are needed.

A tree grows at its frontier, which never changes. Appending makes another one, so that a writer
whose transaction fails goes on from the one that it had.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import merkle
from sealgate.trust.transparency.merkle import HASH_SIZE, node_hash

HEIGHT = 8
WIDTH = 256
_Level = tuple[int, list[bytes]]


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


class Frontier:
    """The edge of a tree of `size` leaves under `root`, and what the last append changed.

    `tiles` are the tiles that the last append made or widened.
    """

    __slots__ = ("_edges", "_levels", "_rests", "root", "size", "tiles")

    def __init__(
        self, size: int, levels: list[_Level], edges: list[bytes], tiles: tuple[Tile, ...]
    ) -> None:
        """Use `empty`, `load` and `append` instead.

        `levels[n]` is (first, hashes): the complete subtrees of level n from number `first` on,
        as far as the next append or the proofs of the last one need them. `edges[n]` holds the
        unfinished tile of tile level n.
        """
        self.size = size
        self.tiles = tiles
        self._levels = levels
        self._edges = edges
        self._rests = _rests(size, levels)
        self.root = self._rests[-1] if size else merkle.EMPTY_ROOT

    @classmethod
    def empty(cls) -> Self:
        return cls(0, [], [], ())

    @classmethod
    def load(cls, reader: TileReader, size: int) -> Self:
        """Make the frontier of a stored tree from its unfinished tiles.

        Raises SealgateError(LOG_INCONSISTENT) for a tile that is too short.
        """
        levels: list[_Level] = []
        edges: list[bytes] = []
        for tile_level in range((size.bit_length() + HEIGHT - 1) // HEIGHT):
            width = partial_width(tile_level, size)
            index = (size >> (HEIGHT * tile_level)) // WIDTH
            data = reader.read(tile_level, index, width) if width else b""
            if len(data) != width * HASH_SIZE:
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"tile {tile_level}/{index} is too short"
                )
            edges.append(data)
            levels += _peaks(data, size >> (HEIGHT * tile_level))
        return cls(size, levels[: size.bit_length()], edges, ())

    def append(self, leaf_hashes: Sequence[bytes]) -> Self:
        """Return the frontier with these leaves added."""
        size = self.size + len(leaf_hashes)
        levels: list[_Level] = []
        edges: list[bytes] = []
        tiles: list[Tile] = []
        fresh = list(leaf_hashes)
        for level in range(size.bit_length()):
            count = self.size >> level
            if level % HEIGHT == 0:
                edge = self._edges[level // HEIGHT] if level // HEIGHT < len(self._edges) else b""
                changed, edge = _widen(level // HEIGHT, count, edge, fresh)
                tiles += changed
                edges.append(edge)
            # An odd number of complete subtrees left one that waits for its sibling.
            nodes = [self._peak(level), *fresh] if count % 2 else fresh
            levels.append((count - count % 2, nodes))
            fresh = [
                node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=False)
            ]
        return type(self)(size, levels, edges, tuple(tiles))

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the proof that a leaf of the last append is in this tree.

        Raises SealgateError(ENTRY_UNKNOWN) for an older leaf, whose proof comes from tiles.
        """
        if not self._levels or not self._levels[0][0] <= index < self.size:
            raise SealgateError(Reason.ENTRY_UNKNOWN, f"entry {index} was not just appended")
        siblings = [self.sibling(level, index >> level) for level in range(self.height)]
        return [hash_ for hash_ in siblings if hash_]

    @property
    def height(self) -> int:
        """How many levels lie under the root."""
        return (self.size - 1).bit_length()

    def sibling(self, level: int, node: int) -> bytes:
        """Return what the proofs of the leaves under a node have on its level, which is nothing
        where the node has no sibling. The leaves are of the last append.
        """
        first, nodes = self._levels[level]
        place = (node ^ 1) - first
        if place < len(nodes):
            return nodes[place]
        return self._rests[level] if place == len(nodes) else b""

    def _peak(self, level: int) -> bytes:
        return self._levels[level][1][-1]


def _rests(size: int, levels: list[_Level]) -> list[bytes]:
    """The roots, level by level, of the leaves that complete subtrees do not cover."""
    rests = [b""]
    for level in range(size.bit_length()):
        rest = rests[level]
        if (size >> level) % 2:
            peak = levels[level][1][-1]
            rest = node_hash(peak, rest) if rest else peak
        rests.append(rest)
    return rests


def _peaks(data: bytes, count: int) -> list[_Level]:
    """The eight levels that start at a tile's, as far as its hashes leave one without sibling."""
    levels: list[_Level] = []
    nodes = [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]
    for above in range(HEIGHT):
        here = count >> above
        levels.append((here - here % 2, nodes[len(nodes) - here % 2 :]))
        nodes = [
            node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=False)
        ]
    return levels


def _widen(level: int, count: int, edge: bytes, fresh: list[bytes]) -> tuple[list[Tile], bytes]:
    """Add a level's new hashes to its unfinished tile; return changed tiles and what is unfinished.

    `count` is the number of hashes of the level before.
    """
    if not fresh:
        return [], edge
    data = b"".join((edge, *fresh))
    first = count // WIDTH
    size = WIDTH * HASH_SIZE
    tiles = [
        Tile(level, first + at // size, data[at : at + size]) for at in range(0, len(data), size)
    ]
    return tiles, data[len(data) - len(data) % size :]
