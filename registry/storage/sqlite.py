"""SQLite: creates its files, sets up its connections, and copies its write-ahead log.

WAL mode with `synchronous=FULL`, so a commit that returned survives a power cut, and readers never
wait for the writer. Writers begin with `BEGIN IMMEDIATE`: a transaction that starts as a reader
and writes later could fail half-way with a busy snapshot.

Deleted content is overwritten with zeros (`secure_delete`). Copies of it stay in the write-ahead
log until that is truncated, and now and then in a page that SQLite has rearranged until the file is
rewritten (`VACUUM`); `purge` does both.

SQLite copies on the thread whose commit makes the log too long, and that thread's callers wait for
as long as the disk takes. Here a thread copies earlier, while commits go on (a checkpoint of the
kind PASSIVE waits for nobody). Once all is copied, the next writer begins the log anew. SQLite's
own copying stays, at a greater length, for when this thread does not keep up.
"""

import logging
import os
import sqlite3
import threading
import time
from contextlib import closing

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from sealgate.reasons import Reason, SealgateError

WRITES = "sealgate_write"
"""The execution option of an engine whose transactions write."""

BEGIN_WRITING = "BEGIN IMMEDIATE"
"""Begins a write transaction, once no other writer has one."""

_CHECKPOINT_MS = 20
# A commit that reaches so many pages (16 MB) copies the write-ahead log into the file and waits for
# the disk again. With SQLite's own 1,000 pages, commits of an answer log took twice as long.
_CHECKPOINT_PAGES = 4000
_log = logging.getLogger(__name__)

_EVERY = 2048
_TRIES = 8


def new_engine(url: URL, busy_ms: int) -> Engine:
    """An engine over the file of `url`, which is made where there is none."""
    _create_private(url)
    # A wait for a free connection is no longer than a writer's wait for another one.
    engine = create_engine(url, poolclass=QueuePool, pool_timeout=busy_ms / 1000)

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        # The driver would begin transactions of its own accord, and too late.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={busy_ms:d}")
        _enter_wal(connection, busy_ms)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES:d}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql(BEGIN_WRITING if writes else "BEGIN")

    return engine


def purge(engine: Engine, rewrite: bool, seconds: float) -> bool:
    """Remove what deleted rows have left in the database's files.

    1. With `rewrite`, the whole file is written anew.
    2. The write-ahead log is copied into the file and truncated.

    Return False where readers or writers kept step 2 from succeeding for `seconds`.
    """
    pooled = engine.raw_connection()
    connection = pooled.driver_connection
    # The connection leaves the pool, for its settings differ from now on.
    pooled.detach()
    if not isinstance(connection, sqlite3.Connection):
        raise SealgateError(Reason.INTERNAL, "not SQLite")
    with closing(connection):
        if rewrite:
            # A temporary file would hold the rows that stay, keys among them.
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("VACUUM")
        return _truncate_wal(connection, seconds)


def _truncate_wal(connection: sqlite3.Connection, seconds: float) -> bool:
    # Writers wait while a checkpoint waits for readers, so each attempt is short.
    connection.execute(f"PRAGMA busy_timeout={_CHECKPOINT_MS:d}")
    deadline = time.monotonic() + seconds
    while True:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_CHECKPOINT_MS / 1000)


class DataVersion:
    """A number that differs after any commit, by this process or another.

    `data_version` leaves out what its own connection commits, so this one commits nothing; outside
    a transaction it is always current.
    """

    def __init__(self, engine: Engine) -> None:
        pooled = engine.raw_connection()
        driver = pooled.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            raise SealgateError(Reason.INTERNAL, "not SQLite")
        # It leaves the pool permanently.
        pooled.detach()
        self._connection = driver

    def read(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._connection.close()


def _enter_wal(connection: sqlite3.Connection, busy_ms: int) -> None:
    """Set WAL mode, and wait for others who do: SQLite's own busy timeout leaves this step out."""
    deadline = time.monotonic() + busy_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _create_private(url: URL) -> None:
    """Create the file readable by its owner alone, before SQLite would with the umask's mode."""
    if url.database and url.database != ":memory:":
        os.close(os.open(url.database, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


class Checkpointer:
    """Copies after every `every` rows that `written` is told of, until `close`."""

    def __init__(self, database: str, every: int = _EVERY) -> None:
        """`database` is the path of the file."""
        self._database = database
        self._every = every
        self._changed = threading.Condition()
        self._rows = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self.copied = 0

    def written(self, rows: int) -> None:
        """Say that so many rows were committed. Returns at once."""
        with self._changed:
            self._rows += rows
            if self._rows < self._every or self._closing:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End; what is not copied yet SQLite copies, now or when the file is opened again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
                connection.execute("PRAGMA busy_timeout=50")
                while self._is_due():
                    self._copy(connection)
        except sqlite3.Error as error:
            # SQLite's own copying goes on, within commits.
            _log.error("the write-ahead log is not copied beside commits: %s", error)

    def _is_due(self) -> bool:
        """Wait until it is to be copied again; false at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._rows >= self._every)
            self._rows = 0
            return not self._closing

    def _copy(self, connection: sqlite3.Connection) -> None:
        """Copy until nothing is left that was not written meanwhile."""
        for _ in range(_TRIES):
            query = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            busy, length, copied = query.fetchone()
            if busy or length == copied:
                break
        self.copied += 1
