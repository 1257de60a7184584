"""Whether a log that is stored extends what was seen of it."""

from typing import Protocol

from sqlalchemy import Connection

from registry.log.rows import TileRows, inconsistent
from registry.log.tables import LogTables
from sealgate.reasons import Refusal
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import verify_consistency
from sealgate.trust.transparency.tiles import consistency_proof


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

    Raises Refusal(LOG_INCONSISTENT).
    """
    old, new = known.size, stored.size
    try:
        if old > new:
            raise inconsistent(f"{new} leaves")
        proof = consistency_proof(TileRows(connection, tables), old, new)
        verify_consistency(old, known.root, new, stored.root, proof)
    except Refusal as error:
        raise inconsistent(f"{known.origin}: does not extend a checkpoint of {old}") from error
