"""The database: one engine, short transactions, and one place where its errors become refusals.

SQLite runs in WAL mode with `synchronous=FULL`, so a commit that returned survives a power cut,
and readers never wait for the writer. Writers begin with `BEGIN IMMEDIATE`: a transaction that
starts as a reader and writes later could fail half-way with a busy snapshot. On PostgreSQL a
writer's first act is to lock its log's row, and readers see one snapshot.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from registry import revisions
from sealgate.reasons import Reason, Refusal

ChangeToken = tuple[int, ...]

_WRITE = "sealgate_write"


class Database:
    """An open database whose tables are those of `family` at their newest revision."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writers = engine.execution_options(**{_WRITE: True})
        self._readers = (
            engine
            if self._is_sqlite
            else engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._watch_lock = threading.Lock()
        self._watcher: sqlite3.Connection | None = None

    @classmethod
    def open(cls, url: str | URL, family: str, *, busy_ms: int = 5000) -> "Database":
        """Open the database at `url` and bring its tables up to date.

        `family` names a folder of revisions: "registry", "answers" or "subjects". A writer waits
        up to `busy_ms` milliseconds for another one. Raises REGISTRY_UNAVAILABLE when the
        database cannot be opened, or was written by a newer release.
        """
        parsed = make_url(url)
        with _refusing(Reason.REGISTRY_UNAVAILABLE):
            if parsed.get_backend_name() == "sqlite":
                _create_private(parsed)
                engine = create_engine(parsed)
                _configure_sqlite(engine, busy_ms)
            else:
                engine = create_engine(parsed, pool_pre_ping=True)
            database = cls(engine)
            with database._writers.begin() as connection:
                revisions.upgrade(connection, family)
        return database

    @classmethod
    def open_file(cls, path: Path, family: str, *, busy_ms: int = 5000) -> "Database":
        """Open the SQLite database in the file `path`; see `open`."""
        return cls.open(
            URL.create("sqlite", database=str(path.absolute())), family, busy_ms=busy_ms
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database. Raises REGISTRY_UNAVAILABLE."""
        with _refusing(Reason.REGISTRY_UNAVAILABLE), self._readers.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction, rolled back unless the caller commits it.

        Raises REGISTRY_UNAVAILABLE when it cannot begin, and RECORD_FAILED when a statement or
        the commit fails; nothing is written then.
        """
        with _refusing(Reason.REGISTRY_UNAVAILABLE):
            connection = self._writers.connect()
            try:
                connection.begin()
            except SQLAlchemyError:
                connection.close()
                raise
        with _refusing(Reason.RECORD_FAILED), connection:
            yield connection

    def change_token(self) -> ChangeToken:
        """A value that differs after any commit, by this process or another; cheap to ask for.

        Only SQLite has one; elsewhere the tuple is empty, and the caller must look at the
        tables. Raises REGISTRY_UNAVAILABLE.
        """
        if not self._is_sqlite:
            return ()
        with _refusing(Reason.REGISTRY_UNAVAILABLE), self._watch_lock:
            if self._watcher is None:
                # `data_version` leaves out what its own connection commits, so this one
                # commits nothing; outside a transaction it is always current.
                self._watcher = _driver_connection(self._engine)
            return (int(self._watcher.execute("PRAGMA data_version").fetchone()[0]),)

    def close(self) -> None:
        with self._watch_lock:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
        self._engine.dispose()


@contextmanager
def _refusing(reason: Reason) -> Iterator[None]:
    """Turn every error of the database into one refusal; the detail stays in our own log."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, revisions.RevisionUnknown) as error:
        raise Refusal(reason, f"{type(error).__name__}: {error}") from error


def _create_private(url: URL) -> None:
    """Create the file readable by its owner alone, before SQLite would with the umask's mode."""
    if url.database and url.database != ":memory:":
        os.close(os.open(url.database, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _configure_sqlite(engine: Engine, busy_ms: int) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        # The driver would begin transactions of its own accord, and too late.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={busy_ms:d}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITE, False)
        connection.execute(text("BEGIN IMMEDIATE" if writes else "BEGIN"))


def _driver_connection(engine: Engine) -> sqlite3.Connection:
    """A driver's connection that leaves the pool for good."""
    pooled = engine.raw_connection()
    driver = pooled.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise Refusal(Reason.INTERNAL, "not SQLite")
    pooled.detach()
    return driver
