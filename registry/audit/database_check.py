"""Read-only checks of a database and its log."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from registry.log.loading import check_extends
from registry.log.rows import inconsistent, newest_checkpoint, next_index
from registry.log.tables import LogTables
from registry.storage import revisions
from registry.storage.database import Database
from sealgate.trust.transparency import Checkpoint, open_checkpoint


@dataclass(frozen=True, slots=True)
class FileSizes:
    """Sizes of a SQLite database in bytes: its file, its write-ahead log, and free disk space."""

    file: int
    wal: int
    free: int


def file_of(place: Path | str) -> Path | None:
    """The file of a database; None where a server keeps it."""
    if isinstance(place, Path):
        return place
    url = make_url(place)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def sizes(path: Path) -> FileSizes:
    """Raises OSError."""
    wal = path.with_name(f"{path.name}-wal")
    return FileSizes(
        path.stat().st_size,
        wal.stat().st_size if wal.exists() else 0,
        shutil.disk_usage(path.parent).free,
    )


@contextmanager
def opened(place: Path | str, family: str) -> Iterator[Database]:
    """A database that there is, as it is. Raises Refusal(REGISTRY_UNAVAILABLE)."""
    database = Database.open_unchanged(place, family)
    try:
        yield database
    finally:
        database.close()


def revision(connection: Connection, family: str) -> tuple[str, str]:
    """The revision of the tables, and the one to which this release brings them."""
    return revisions.current(connection), revisions.newest(family)


def damage(connection: Connection) -> list[str]:
    """Return what SQLite's quick check finds; other databases check themselves."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars()
    return [str(line) for line in found if line != "ok"]


def check_log(
    connection: Connection, tables: LogTables, vkey: str, known: Iterable[Checkpoint]
) -> int:
    """Check a log's newest checkpoint; return how many entries it has.

    1. It is signed by `vkey`, and there are as many leaves as it says.
    2. It extends each checkpoint that others know of it.

    Raises Refusal: LOG_INCONSISTENT, SIGNATURE_INVALID, DOCUMENT_MALFORMED.
    """
    # 1.
    newest, count = newest_checkpoint(connection, tables), next_index(connection, tables)
    if newest is None:
        raise inconsistent("there is no checkpoint")
    signed = open_checkpoint(newest.note, vkey)
    if not count == newest.size == signed.size:
        raise inconsistent(f"{count} leaves under a checkpoint of {signed.size}")
    # 2.
    for checkpoint in known:
        check_extends(connection, tables, signed, checkpoint)
    return count
