"""The tables of a log; entries, full tiles and checkpoints are append-only."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

# SQLite makes a column its row id only if the type is spelled INTEGER.
Count = BigInteger().with_variant(Integer(), "sqlite")

# Names that a later migration can refer to, on any database.
CONSTRAINT_NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


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

# What an answer's leaf commits to, encrypted under a key of its subject; see `encryption`. Kept
# apart from the leaves, which hold commitments alone.
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
