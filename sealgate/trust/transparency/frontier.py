"""The right edge of a growing Merkle tree: appends entries and proves new ones.

A frontier never changes. Appending makes another one, so that a writer whose transaction fails
goes on from the one that it had.
"""

from collections.abc import Sequence
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import merkle
from sealgate.trust.transparency.merkle import HASH_SIZE, node_hash
from sealgate.trust.transparency.tiles import HEIGHT, WIDTH, Tile, TileReader, partial_width

_Level = tuple[int, list[bytes]]


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
