"""Loads the state of a stored log and checks it before anything is appended."""

from contextlib import suppress
from typing import Protocol

from sqlalchemy import Connection, insert, select, update

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
from sealgate.trust.transparency.merkle import EMPTY_ROOT, leaf_hash, verify_consistency
from sealgate.trust.transparency.tiles import WIDTH, Frontier, consistency_proof, partial_width


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


class State(Protocol):
    """A tree: how many leaves, and its root [32 bytes]."""

    @property
    def size(self) -> int: ...

    @property
    def root(self) -> bytes: ...


def check_extends(
    connection: Connection, tables: LogTables, stored: State, known: Checkpoint
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
