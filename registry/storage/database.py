"""A database connection: short transactions, and conversion of database errors.

On either database there is one writer at a time, who begins by keeping others out, and a reader
sees one consistent state; see `sqlite` and `postgres` for how.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

from sqlalchemy import Connection, Engine, PoolProxiedConnection, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from registry.storage import revisions, sqlite
from registry.storage.changes import Changes, changes_of
from registry.storage.driver import DriverTransaction
from registry.storage.sqlite import Checkpointer
from sealgate.reasons import Reason, SealgateError

ChangeToken = tuple[int, ...]

PURGE_SECONDS = 10.0
"""How long `Database.purge` waits for readers."""

_POSTGRES = ("postgres", "postgresql")


class Database:
    """An open database whose tables are those of `family` at their newest revision."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._postgres = _postgres() if engine.dialect.name == "postgresql" else None
        self._begin = self._postgres.BEGIN_WRITING if self._postgres else sqlite.BEGIN_WRITING
        driver_error = engine.dialect.loaded_dbapi.Error
        self._or_unavailable = _Refusing(Reason.REGISTRY_UNAVAILABLE, driver_error)
        self._or_failed = _Refusing(Reason.RECORD_FAILED, driver_error)
        self._writers = engine.execution_options(**{sqlite.WRITES: True})
        self._readers = (
            engine.execution_options(isolation_level="REPEATABLE READ")
            if self._postgres
            else engine
        )
        # Connections that were last used to append. SQLite's only: PostgreSQL may close one.
        self._appenders: list[PoolProxiedConnection] = []
        self._watch_lock = threading.Lock()
        self._version: sqlite.DataVersion | None = None

    @classmethod
    def open(cls, place: str | URL | Path, family: str, *, busy_ms: int = 5000) -> "Database":
        """Open the database at `place`, a URL or a SQLite file, and bring its tables up to date.

        `family` names a folder of revisions: "registry", "answers" or "subjects". A writer waits
        up to `busy_ms` milliseconds for another one. Raises REGISTRY_UNAVAILABLE when the
        database cannot be opened, was written by a newer release, or is another family's.
        """
        with _Refusing(Reason.REGISTRY_UNAVAILABLE):
            database = cls(_new_engine(place, family, busy_ms))
        try:
            with database.writing() as connection, _Refusing(Reason.REGISTRY_UNAVAILABLE):
                with database._patience(connection):
                    revisions.upgrade(connection, family)
                connection.commit()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_unchanged(cls, place: str | URL | Path, family: str) -> "Database":
        """Open a database that there is for readers only: its tables stay as they are.

        Raises REGISTRY_UNAVAILABLE.
        """
        with _Refusing(Reason.REGISTRY_UNAVAILABLE):
            if isinstance(place, Path):
                place = URL.create("sqlite", database=str(place.absolute()))
            url = make_url(place)
            if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
                raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "there is no such file")
            return cls(_new_engine(place, family, 5000))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database. Raises REGISTRY_UNAVAILABLE."""
        with _Refusing(Reason.REGISTRY_UNAVAILABLE), self._readers.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction, rolled back unless the caller commits it.

        Raises REGISTRY_UNAVAILABLE when it cannot begin, and RECORD_FAILED when a statement or
        the commit fails; nothing is written then, unless the connection broke in the commit.
        """
        with _Refusing(Reason.REGISTRY_UNAVAILABLE):
            connection = self._writers.connect()
            try:
                connection.begin()
                if self._postgres:
                    self._postgres.take_turn(connection)
            except BaseException:
                connection.close()
                raise
        with self._or_failed, connection:
            yield connection

    @contextmanager
    def appending(self) -> Iterator[DriverTransaction]:
        """A write transaction like `writing`, for the few statements of every request: beginning
        and ending one of SQLAlchemy's own costs more than running them. Raises likewise.
        """
        with self._or_unavailable:
            pooled = self._appender()
            try:
                transaction = DriverTransaction(pooled, self.engine.dialect)
                transaction.run_text(self._begin)
            except BaseException:
                pooled.close()
                raise
        with self._or_failed:
            try:
                yield transaction
            finally:
                transaction.close()
                if transaction.is_committed and self._postgres is None:
                    self._appenders.append(pooled)
                else:
                    # Uncommitted changes are rolled back.
                    pooled.close()

    def _appender(self) -> PoolProxiedConnection:
        """A connection without a transaction: to ask the pool takes longer than a statement."""
        try:
            return self._appenders.pop()
        except IndexError:
            return self.engine.raw_connection()

    def change_token(self) -> ChangeToken:
        """A value that differs after any commit, by this process or another; cheap to ask for.

        Only SQLite has one; elsewhere the tuple is empty, and the caller must look at the
        tables. Raises REGISTRY_UNAVAILABLE.
        """
        if self._postgres:
            return ()
        with _Refusing(Reason.REGISTRY_UNAVAILABLE), self._watch_lock:
            if self._version is None:
                self._version = sqlite.DataVersion(self.engine)
            return (self._version.read(),)

    def purge(self, *tables: Table, rewrite: bool = False, seconds: float = PURGE_SECONDS) -> None:
        """Remove what deleted rows of `tables` have left in the database's own files.

        SQLite: truncate the write-ahead log. PostgreSQL: VACUUM the tables. With `rewrite`, the
        database (SQLite) or the tables (PostgreSQL) are written anew, for small ones only.
        Raises SealgateError(ERASURE_UNFINISHED) where others kept it from happening for `seconds`,
        or where the database failed; whoever repeats it finishes it.
        """
        with _Refusing(Reason.ERASURE_UNFINISHED):
            if self._postgres:
                self._postgres.vacuum(self.engine, tables, rewrite)
            elif not sqlite.purge(self.engine, rewrite, seconds):
                raise SealgateError(Reason.ERASURE_UNFINISHED, "others read the write-ahead log")

    def checkpointer(self) -> Checkpointer | None:
        """The thread that copies the write-ahead log beside commits; PostgreSQL does that by
        itself.
        """
        path = self.engine.url.database
        return None if self._postgres or not path else Checkpointer(path)

    def changes(self) -> Changes:
        """Return a signal for when to ask for the change token again."""
        if self._postgres:
            listener: Changes = self._postgres.Listener(self.engine)
            return listener
        return changes_of(Path(self.engine.url.database or ""))

    def _patience(self, connection: Connection) -> AbstractContextManager[None]:
        return self._postgres.patience(connection) if self._postgres else nullcontext()

    def close(self) -> None:
        with self._watch_lock:
            if self._version is not None:
                self._version.close()
                self._version = None
        while self._appenders:
            self._appenders.pop().close()
        self.engine.dispose()


class _Refusing:
    """Turns every error of the database into one refusal; the detail stays in our own log.

    It has no state, so one serves all threads.
    """

    __slots__ = ("_errors", "_reason")

    def __init__(self, reason: Reason, *driver: type[Exception]) -> None:
        """`driver` are the driver's own errors, where its connection is used."""
        self._reason = reason
        self._errors = (
            SQLAlchemyError,
            sqlite3.Error,
            OSError,
            revisions.RevisionUnknown,
            revisions.TablesOfAnother,
            *driver,
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, self._errors):
            detail = f"{type(error).__name__}: {error}"
            raise SealgateError(self._reason, detail) from error


def _new_engine(place: str | URL | Path, family: str, busy_ms: int) -> Engine:
    if isinstance(place, Path):
        place = URL.create("sqlite", database=str(place.absolute()))
    try:
        url = make_url(place)
        kind = url.get_backend_name()
    except ValueError as error:
        raise ArgumentError("the URL's port is not a number") from error
    if kind == "sqlite":
        return sqlite.new_engine(url, busy_ms)
    if kind in _POSTGRES:
        engine: Engine = _postgres().new_engine(url, family, busy_ms)
        return engine
    raise ArgumentError(f"{kind} is neither sqlite nor postgresql")


def _postgres() -> ModuleType:
    """The module that needs psycopg, which only the extra `postgres` brings."""
    try:
        from registry.storage import postgres
    except ImportError as error:
        detail = "psycopg is not installed: pip install 'sealgate[postgres]'"
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, detail) from error
    return postgres
