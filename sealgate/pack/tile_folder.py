"""Writes a log as static files (C2SP tlog-tiles) for any web server.

    checkpoint                            the signed note
    tile/<level>/<index>[.p/<width>]      hashes
    tile/entries/<index>[.p/<width>]      entries, each after its length in two bytes (big-endian)

The checkpoint is written last, once all that it covers is on the disk and leads to its root. So
readers always find a whole log, and a folder grows by what is new alone.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sealgate.audit import Claim, check_sizes
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import Checkpoint, open_checkpoint
from sealgate.trust.transparency.merkle import HASH_SIZE, leaf_hash
from sealgate.trust.transparency.tiles import HEIGHT, WIDTH, Frontier, Tile, tile_path, tree_root

CHECKPOINT = "checkpoint"
_LENGTH = 2


def entries_path(index: int, width: int) -> str:
    """Return the path of the tile that holds the entries from 256 * `index` on."""
    return tile_path(0, index, width).replace("tile/0/", "tile/entries/", 1)


class TileFolder:
    """The files of the log whose checkpoints `vkey` (a C2SP verifier key) signs, in `folder`."""

    def __init__(self, folder: Path, vkey: str) -> None:
        """Existing content is read and checked.

        Raises SealgateError: LOG_INCONSISTENT where tiles and checkpoint do not agree,
        SIGNATURE_INVALID, DOCUMENT_MALFORMED.
        """
        self._folder = folder
        self._vkey = vkey
        self._frontier, self._tail = self._load()
        self._unfinished: dict[int, Tile] = {}

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self._vkey.partition("+")[0]

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._frontier.size

    def read(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, as `sealgate.trust.transparency.tiles` asks
        for them.
        """
        return self._bytes(tile_path(level, index, width))

    def check_claim(self, claim: Claim) -> None:
        """Check that the log extends a tree that somebody has signed of it, once it has grown.

        Raises SealgateError(LOG_INCONSISTENT).
        """
        check_sizes(self.origin, [claim], self.size)
        if tree_root(_Wider(self), claim.size) != claim.root:
            detail = f"{self.origin}: the entries give another root than {claim.by}"
            raise SealgateError(Reason.LOG_INCONSISTENT, detail)

    def grow(
        self,
        note: str,
        groups: Iterator[Sequence[bytes]],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Checkpoint:
        """Add the entries from `size` on, which come in groups, up to the signed checkpoint `note`.

        1. The checkpoint is the log's own (SIGNATURE_INVALID, DOCUMENT_MALFORMED), and of no
           smaller tree (LOG_INCONSISTENT).
        2. The entries that were there and those that come lead to its root (LOG_INCONSISTENT). So
           the log is shown to have only grown.

        `progress` is told how many of how many entries are there.
        """
        # 1.
        checkpoint = open_checkpoint(note, self._vkey)
        if checkpoint.size < self.size:
            raise _inconsistent(checkpoint, "has shrunk")
        # 2.
        for group in groups:
            for leaves in _aligned(group, self.size):
                self._append(leaves)
            progress(self.size, checkpoint.size)
        if (checkpoint.size, checkpoint.root) != (self.size, self._frontier.root):
            raise _inconsistent(checkpoint, "the entries give another root")
        self._write_edge()
        os.sync()
        self._write(CHECKPOINT, note.encode())
        self._drop_partial()
        return checkpoint

    def _append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves that do not reach beyond the unfinished tile of entries."""
        self._frontier = self._frontier.append([leaf_hash(leaf) for leaf in leaves])
        self._tail += leaves
        for tile in self._frontier.tiles:
            if tile.width == WIDTH:
                self._write(tile.path, tile.hashes)
                self._unfinished.pop(tile.level, None)
            else:
                self._unfinished[tile.level] = tile
        if len(self._tail) == WIDTH:
            self._write(entries_path(self.size // WIDTH - 1, WIDTH), _joined(self._tail))
            self._tail = []

    def _write_edge(self) -> None:
        """Write the tiles that are not full."""
        for tile in self._unfinished.values():
            self._write(tile.path, tile.hashes)
        if self._tail and self._unfinished:
            self._write(entries_path(self.size // WIDTH, len(self._tail)), _joined(self._tail))

    def _drop_partial(self) -> None:
        """Remove the narrower forms of tiles that are full by now, as tlog-tiles allows."""
        for folder in list((self._folder / "tile").rglob("*.p")):
            if folder.with_suffix("").is_file():
                shutil.rmtree(folder)

    def _load(self) -> tuple[Frontier, list[bytes]]:
        if not (self._folder / CHECKPOINT).exists():
            return Frontier.empty(), []
        checkpoint = open_checkpoint(self._bytes(CHECKPOINT).decode(), self._vkey)
        frontier = Frontier.load(self, checkpoint.size)
        if frontier.root != checkpoint.root:
            raise _inconsistent(checkpoint, "the tiles lead to another root")
        width = checkpoint.size % WIDTH
        index = checkpoint.size // WIDTH
        tail = _parted(self._bytes(entries_path(index, width))) if width else []
        hashes = self.read(0, index, width) if width else b""
        if b"".join(map(leaf_hash, tail)) != hashes or len(hashes) != width * HASH_SIZE:
            raise _inconsistent(checkpoint, "the entries are not those of the tiles")
        return frontier, tail

    def _bytes(self, path: str) -> bytes:
        return (self._folder / path).read_bytes()

    def _write(self, path: str, data: bytes) -> None:
        """A reader finds a file as it was or as it will be, and nothing between."""
        place = self._folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        beside.write_bytes(data)
        beside.replace(place)


class _Wider:
    """Tiles as a smaller tree had them: what is there has only grown wider since."""

    def __init__(self, folder: TileFolder) -> None:
        self._folder = folder
        self._read: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int, width: int) -> bytes:
        if (level, index) not in self._read:
            there = (self._folder.size >> HEIGHT * level) - WIDTH * index
            self._read[level, index] = self._folder.read(level, index, min(WIDTH, there))
        return self._read[level, index][: width * HASH_SIZE]


def _aligned(leaves: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """The leaves that follow on `size` others, in parts that end where tiles do."""
    at = 0
    while at < len(leaves):
        end = at + WIDTH - (size + at) % WIDTH
        yield leaves[at:end]
        at = min(end, len(leaves))


def _joined(leaves: Sequence[bytes]) -> bytes:
    return b"".join([len(leaf).to_bytes(_LENGTH, "big") + leaf for leaf in leaves])


def _parted(data: bytes) -> list[bytes]:
    leaves, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + _LENGTH], "big")
        leaves.append(data[at + _LENGTH : at + _LENGTH + length])
        at += _LENGTH + length
    return leaves


def _inconsistent(checkpoint: Checkpoint, detail: str) -> SealgateError:
    return SealgateError(Reason.LOG_INCONSISTENT, f"{checkpoint.origin}: {detail}")
