"""The tables of a log, reads of their rows, and what an append wrote.

Entries, full tiles and checkpoints are append-only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)

from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import HASH_SIZE
from sealgate.trust.transparency.tiles import HEIGHT, WIDTH, Frontier, Tile, partial_width

# SQLite makes a column its row id only if the type is spelled INTEGER.
Count = BigInteger().with_variant(Integer(), "sqlite")

# Names that a later migration can refer to, on any database.
CONSTRAINT_NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
_BLOCK = 1024
_RUN_DEFERRED = "SET CONSTRAINTS ALL IMMEDIATE"
LARGEST_GROUP = 256
LARGEST_LEAF = 65535


@dataclass(frozen=True, slots=True)
class LogTables:
    """`leaves`: what was recorded. `tiles`: 32-byte hashes, 256 in a full tile (C2SP tiles).

    `checkpoints`: a signed note for each size that was ever signed. `writer`: one row; whoever
    raised `epoch` last may append, unless writers share the log.
    """

    leaves: Table
    tiles: Table
    checkpoints: Table
    writer: Table


def log_tables(metadata: MetaData) -> LogTables:
    """Define the tables of a log in `metadata`."""
    return LogTables(
        leaves=Table(
            "log_leaves",
            metadata,
            Column("index", Count, primary_key=True, autoincrement=False),
            Column("data", LargeBinary, nullable=False),
        ),
        tiles=Table(
            "log_tiles",
            metadata,
            Column("level", SmallInteger, primary_key=True, autoincrement=False),
            Column("index", Count, primary_key=True, autoincrement=False),
            Column("hashes", LargeBinary, nullable=False),
        ),
        checkpoints=Table(
            "log_checkpoints",
            metadata,
            Column("size", Count, primary_key=True, autoincrement=False),
            Column("note", Text, nullable=False),
        ),
        writer=Table(
            "log_writer",
            metadata,
            Column("origin", Text, primary_key=True),
            Column("epoch", Count, nullable=False),
        ),
    )


ANSWERS_METADATA = MetaData(naming_convention=CONSTRAINT_NAMES)
ANSWERS = log_tables(ANSWERS_METADATA)

# The openings of an answer's commitments, encrypted under a key of its subject; see `encryption`.
# Kept apart from the leaves, which hold commitments alone.
OPENINGS = Table(
    "log_sealed_openings",
    ANSWERS_METADATA,
    Column("index", Count, primary_key=True, autoincrement=False),
    Column("day", Text, nullable=False),
    Column("owner", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

# Which entries have a value, by keyed tags; see `postings`.
POSTINGS = Table(
    "log_postings",
    ANSWERS_METADATA,
    Column("segment", Count, primary_key=True, autoincrement=False),
    Column("tag", Count, primary_key=True, autoincrement=False),
    Column("first", Count, primary_key=True, autoincrement=False),
    Column("offsets", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# The days that the entries of each segment are of.
DAYS = Table(
    "log_days",
    ANSWERS_METADATA,
    Column("segment", Count, primary_key=True, autoincrement=False),
    Column("day", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# The entry that reports the outcome of an answer's entry; there is one at most.
OUTCOMES = Table(
    "log_outcomes",
    ANSWERS_METADATA,
    Column("entry", Count, primary_key=True, autoincrement=False),
    Column("report", Count, nullable=False),
)

# One row: which index key the postings and owners were made with (`IndexKeys.identity`).
INDEX_KEY = Table(
    "log_index_key", ANSWERS_METADATA, Column("identity", LargeBinary, primary_key=True)
)

# Openings as release 0.1 kept them, in plain text. A log that has been opened since has no such
# table; see `plain_openings`.
PLAIN_OPENINGS = Table(
    "log_openings",
    MetaData(naming_convention=CONSTRAINT_NAMES),
    Column("index", Count, primary_key=True, autoincrement=False),
    Column("fields", Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("subject", Text, nullable=False),
)


class NewestCheckpoint(NamedTuple):
    """The newest checkpoint: the size that it states and its signed note."""

    size: int
    note: str


class TileRows:
    """The stored tiles, as `sealgate.trust.transparency.tiles` reads them.

    A tile that has grown wider since serves a smaller tree too, unless `exact` is asked for.
    """

    def __init__(self, connection: Connection, tables: LogTables, *, exact: bool = False) -> None:
        self._connection = connection
        self._tiles = tables.tiles
        self._exact = exact

    def read(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile. Raises SealgateError(LOG_INCONSISTENT)."""
        hashes = self.stored(level, index)
        size = width * HASH_SIZE
        if len(hashes) < size or (self._exact and len(hashes) != size):
            raise inconsistent(f"tile {level}/{index} has not {width} hashes")
        return hashes[:size]

    def stored(self, level: int, index: int) -> bytes:
        """Return a tile as it is stored, or nothing."""
        where = (self._tiles.c.level == level, self._tiles.c.index == index)
        return bytes(self._connection.scalar(select(self._tiles.c.hashes).where(*where)) or b"")


def newest_checkpoint(connection: Connection, tables: LogTables) -> NewestCheckpoint | None:
    """Return the newest checkpoint, if the log was ever opened."""
    table = tables.checkpoints
    query = select(table.c.size, table.c.note).order_by(table.c.size.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else NewestCheckpoint(row.size, row.note)


def next_index(connection: Connection, tables: LogTables) -> int:
    """Return one more than the largest index of a leaf."""
    largest = connection.scalar(select(func.max(tables.leaves.c.index)))
    return 0 if largest is None else int(largest) + 1


def first_index(connection: Connection, tables: LogTables) -> int:
    """Return the smallest index of a leaf: those before it are pruned, or there are none."""
    return int(connection.scalar(select(func.min(tables.leaves.c.index))) or 0)


def leaves(
    connection: Connection, tables: LogTables, start: int, end: int
) -> Iterator[list[bytes]]:
    """Yield the leaves from `start` up to `end` in blocks, in order.

    Raises SealgateError(LOG_INCONSISTENT) when one is missing.
    """
    table = tables.leaves
    for first in range(start, end, _BLOCK):
        last = min(first + _BLOCK, end)
        query = select(table.c.index, table.c.data).order_by(table.c.index)
        rows: list[Row] = list(
            connection.execute(query.where(table.c.index >= first, table.c.index < last))
        )
        if [row.index for row in rows] != list(range(first, last)):
            raise inconsistent(f"a leaf between {first} and {last} is missing")
        yield [bytes(row.data) for row in rows]


def run_deferred_triggers(transaction: Connection | DriverTransaction) -> None:
    """Run now what would wait for the commit. SQLite has no such triggers."""
    if transaction.dialect.name != "postgresql":
        return
    if isinstance(transaction, Connection):
        transaction = DriverTransaction.of(transaction)
    transaction.run_text(_RUN_DEFERRED)


def inconsistent(detail: str) -> SealgateError:
    """Return the refusal of a log that contradicts itself."""
    return SealgateError(Reason.LOG_INCONSISTENT, detail)


class AppendStatements:
    """The statements of an append."""

    def __init__(self, tables: LogTables) -> None:
        checkpoints, tiles, writer = tables.checkpoints, tables.tiles, tables.writer
        largest = select(func.max(checkpoints.c.size)).scalar_subquery()
        newest = select(checkpoints.c.note).where(checkpoints.c.size == largest)
        turn = (
            select(writer.c.epoch, newest.scalar_subquery())
            .where(writer.c.origin == bindparam("origin"))
            .with_for_update()
        )
        leaf = tables.leaves.c
        between = (leaf.index >= bindparam("first"), leaf.index < bindparam("size"))
        leaves = select(leaf.data).where(*between).order_by(leaf.index)
        widen = (
            update(tiles)
            .where(tiles.c.level == bindparam("at_level"), tiles.c.index == bindparam("at_index"))
            .values(hashes=bindparam("wider"))
        )
        self.turn = Prepared(turn, "origin")
        self.leaves = Prepared(leaves, "first", "size")
        self.add_leaf = Prepared(insert(tables.leaves), "index", "data")
        self.add_checkpoint = Prepared(insert(checkpoints), "size", "note")
        self._add_tile = Prepared(insert(tiles), "level", "index", "hashes")
        self._widen_tile = Prepared(widen, "wider", "at_level", "at_index")

    def store(self, tile: Tile, size: int) -> tuple[Prepared, tuple[Any, ...]]:
        """Return the statement that stores a tile, and its parameters.

        `size` is the tree's before the append: an unfinished tile of that tree is overwritten.
        """
        unfinished = (size >> HEIGHT * tile.level) // WIDTH == tile.index
        if unfinished and partial_width(tile.level, size):
            return self._widen_tile, (tile.hashes, tile.level, tile.index)
        return self._add_tile, (tile.level, tile.index, tile.hashes)


class CheckpointMemory(Protocol):
    """A memory of the newest checkpoint of a log, apart from its database."""

    @property
    def checkpoint(self) -> Checkpoint | None: ...

    def keep(self, note: str) -> None:
        """Remember a checkpoint, so that it outlives this process. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append: the index of its first leaf, the tree's size after it, and the
    signed checkpoint (a C2SP note).
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
