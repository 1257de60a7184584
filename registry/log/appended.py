"""What an append to a log wrote, and what remembers the newest checkpoint."""

from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from registry.log.rows import LogTables, TileRows, inconsistent, newest_checkpoint
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.tiles import Frontier

LARGEST_GROUP = 256
LARGEST_LEAF = 65535


class CheckpointMemory(Protocol):
    """A memory of the newest checkpoint of a log, apart from its database."""

    @property
    def checkpoint(self) -> Checkpoint | None: ...

    def keep(self, note: str) -> None:
        """Remember a checkpoint, so that it outlives this process. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append wrote: the index of its first leaf, the tree's size after it, and the signed
    checkpoint (a C2SP note).
    """

    first: int
    size: int
    note: str
    frontier: Frontier = field(repr=False, compare=False)

    def proof(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of one of its leaves into its checkpoint."""
        return tuple(self.frontier.inclusion_proof(index))


def check_stored(connection: Connection, tables: LogTables, appended: Appended) -> None:
    """Check, before the commit of an append, that its checkpoint is the newest and its tiles are
    those that it wrote. `TileLog.check_written` looks at the leaves.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    rows = TileRows(connection, tables)
    tiles = appended.frontier.tiles
    if newest_checkpoint(connection, tables) != (appended.size, appended.note) or any(
        rows.stored(tile.level, tile.index) != tile.hashes for tile in tiles
    ):
        raise inconsistent("a trigger changed the tree that was appended")
