"""Tiles in memory, as a log would keep them."""

from collections.abc import Iterable

from sealgate.trust.transparency.tiles import Tile


class TileStore:
    """Keeps the widest form of each tile, and reads any narrower one from it."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}

    def put(self, tiles: Iterable[Tile]) -> None:
        for tile in tiles:
            self.tiles[tile.level, tile.index] = tile.hashes

    def read(self, level: int, index: int, width: int) -> bytes:
        return self.tiles[level, index][: 32 * width]
