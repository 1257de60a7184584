"""Checks of a stored log: of its state before anything is appended, and of the whole."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, func, insert, select, update

from registry.log import rows
from registry.log.rows import LogTables, TileRows, inconsistent, newest_checkpoint, next_index
from sealgate.reasons import SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.transparency import (
    Checkpoint,
    RotatingSigner,
    log_vkey,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash, verify_consistency
from sealgate.trust.transparency.tiles import (
    WIDTH,
    Frontier,
    Tile,
    consistency_proof,
    partial_width,
)

# Called with how many leaves have been checked and how many there are.
Progress = Callable[[int, int], None]
# Called with the index and the bytes of each leaf, in order.
Visit = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """The result of a verification: leaves, stored checkpoints, the root, and the newest signed
    note. Of the first `pruned` leaves there are only hashes.
    """

    size: int
    checkpoints: int
    root: bytes
    note: str
    pruned: int = 0


def verify_log(
    connection: Connection,
    tables: LogTables,
    vkey: str,
    *,
    progress: Progress | None = None,
    visit: Visit | None = None,
    pruned: int = 0,
) -> VerifiedLog:
    """Check the whole log in the transaction of `connection`.

    1. The newest checkpoint covers every leaf, and no leaf is missing, but for whole tiles among
       the first `pruned`, whose kept hashes stand for them.
    2. Every stored checkpoint is signed by `vkey` and states the root of the leaves up to its
       size.
    3. Every stored tile holds the hashes of what it covers, and none is missing or surplus.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    # 1.
    size = rows.next_index(connection, tables)
    notes = _checkpoints(connection, tables)
    if not notes or notes[-1].size != size:
        raise inconsistent(f"{size} leaves under another newest checkpoint")
    first = rows.first_index(connection, tables)
    if first > pruned or first % WIDTH:
        raise inconsistent(f"the leaves before {first} are missing")
    # 2.
    check = _Recomputation(connection, tables, vkey, visit)
    for newest in notes:
        check.extend_by_hashes(min(first, newest.size))
        for block in _groups(connection, tables, check.frontier.size, newest.size):
            check.extend(block)
        check.compare(newest)
        if progress is not None:
            progress(newest.size, size)
    # 3.
    check.compare_tiles_left()
    return VerifiedLog(size, len(notes), check.frontier.root, notes[-1].note, first)


class _Recomputation:
    """The tree so far, rebuilt from the leaves alone."""

    def __init__(
        self, connection: Connection, tables: LogTables, vkey: str, visit: Visit | None
    ) -> None:
        self.frontier = Frontier.empty()
        self._connection = connection
        self._tables = tables
        self._stored = TileRows(connection, tables)
        self._vkey = vkey
        self._visit = visit
        self._unfinished: dict[int, Tile] = {}
        self._tiles = 0

    def extend(self, block: Sequence[bytes]) -> None:
        if self._visit is not None:
            for index, leaf in enumerate(block, self.frontier.size):
                self._visit(index, leaf)
        self._append([leaf_hash(leaf) for leaf in block])

    def extend_by_hashes(self, end: int) -> None:
        """Go on to a tree of `end` by what the tiles say of leaves that are gone."""
        while (size := self.frontier.size) < end:
            index, skipped = divmod(size, WIDTH)
            width = min(WIDTH, end - index * WIDTH)
            data = self._stored.read(0, index, width)
            self._append([data[i * HASH_SIZE : (i + 1) * HASH_SIZE] for i in range(skipped, width)])

    def _append(self, hashes: Sequence[bytes]) -> None:
        self.frontier = self.frontier.append(hashes)
        for tile in self.frontier.tiles:
            self._unfinished[tile.level] = tile
            if tile.width == WIDTH:
                self._compare_tile(self._unfinished.pop(tile.level))

    def compare(self, newest: rows.NewestCheckpoint) -> None:
        try:
            signed = open_checkpoint(newest.note, self._vkey)
        except SealgateError as error:
            raise inconsistent(f"the checkpoint of {newest.size} is not signed") from error
        if signed.size != newest.size or signed.root != self.frontier.root:
            raise inconsistent(f"the checkpoint of {newest.size} states another root")

    def compare_tiles_left(self) -> None:
        for tile in self._unfinished.values():
            self._compare_tile(tile)
        stored = self._connection.scalar(select(func.count()).select_from(self._tables.tiles))
        if stored != self._tiles:
            raise inconsistent(f"{stored} tiles where {self._tiles} belong")

    def _compare_tile(self, tile: Tile) -> None:
        self._tiles += 1
        if self._stored.stored(tile.level, tile.index) != tile.hashes:
            raise inconsistent(f"tile {tile.level}/{tile.index} holds other hashes")


def _checkpoints(connection: Connection, tables: LogTables) -> list[rows.NewestCheckpoint]:
    table = tables.checkpoints
    query = select(table.c.size, table.c.note).order_by(table.c.size)
    return [rows.NewestCheckpoint(row.size, row.note) for row in connection.execute(query)]


def _groups(
    connection: Connection, tables: LogTables, start: int, end: int
) -> Iterator[list[bytes]]:
    """The leaves from `start` up to `end`, at most 256 at a time."""
    for block in rows.leaves(connection, tables, start, end):
        for at in range(0, len(block), WIDTH):
            yield block[at : at + WIDTH]


def take_epoch(connection: Connection, tables: LogTables, origin: str) -> int:
    writer = tables.writer
    row = connection.execute(select(writer).with_for_update()).one_or_none()
    if row is None:
        connection.execute(insert(writer), {"origin": origin, "epoch": 1})
        return 1
    if row.origin != origin:
        raise inconsistent(f"these are the tables of {row.origin}")
    epoch = int(row.epoch) + 1
    connection.execute(update(writer).where(writer.c.origin == origin).values(epoch=epoch))
    return epoch


def load(
    connection: Connection, tables: LogTables, origin: str, signer: Signer
) -> tuple[Frontier, str]:
    """Rebuild the frontier and check it, by the steps of `TileLog.open`."""
    count = next_index(connection, tables)
    newest = newest_checkpoint(connection, tables)
    if newest is None:
        if count:
            raise inconsistent(f"{origin}: {count} leaves without a checkpoint")
        note = sign_checkpoint(Checkpoint(origin, 0, EMPTY_ROOT), signer)
        connection.execute(insert(tables.checkpoints), {"size": 0, "note": note})
        return Frontier.empty(), note
    # 1.
    adopt(newest.note, origin, signer)
    signed = open_own(newest.note, origin, signer)
    # 2.
    if not count == signed.size == newest.size:
        raise inconsistent(f"{origin}: {count} leaves under a checkpoint of {signed.size}")
    # 3.
    frontier = Frontier.load(TileRows(connection, tables, exact=True), count)
    if frontier.root != signed.root:
        raise inconsistent(f"{origin}: the tiles lead to another root")
    return frontier, newest.note


def check_newest_leaves(connection: Connection, tables: LogTables, size: int, origin: str) -> None:
    """Compare the leaves under the unfinished tile with it."""
    first = size - partial_width(0, size)
    hashes = TileRows(connection, tables).stored(0, first // WIDTH) if first < size else b""
    blocks = rows.leaves(connection, tables, first, size)
    if b"".join([leaf_hash(leaf) for block in blocks for leaf in block]) != hashes:
        raise inconsistent(f"{origin}: the newest leaves are not those of the tiles")


def adopt(newest: str, origin: str, signer: Signer) -> None:
    """Go on with the next key where the newest checkpoint is signed with it already."""
    if isinstance(signer, RotatingSigner) and not signer.is_handed_over:
        with suppress(SealgateError):
            line = log_vkey(origin, signer.signers[1])
            signer.hand_over(open_checkpoint(newest, line).size)


def open_own(note: str, origin: str, signer: Signer) -> Checkpoint:
    try:
        return open_checkpoint(note, log_vkey(origin, signer))
    except SealgateError as error:
        raise inconsistent(f"{origin}: the newest checkpoint is not ours") from error


class TreeState(Protocol):
    """A tree: how many leaves, and its root [32 bytes]."""

    @property
    def size(self) -> int: ...

    @property
    def root(self) -> bytes: ...


def check_extends(
    connection: Connection, tables: LogTables, stored: TreeState, known: Checkpoint
) -> None:
    """Check that the stored tree begins with the one that is known.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    old, new = known.size, stored.size
    try:
        if old > new:
            raise inconsistent(f"{new} leaves")
        proof = consistency_proof(TileRows(connection, tables), old, new)
        verify_consistency(old, known.root, new, stored.root, proof)
    except SealgateError as error:
        raise inconsistent(f"{known.origin}: does not extend a checkpoint of {old}") from error
