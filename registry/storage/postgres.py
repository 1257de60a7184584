"""Connections to PostgreSQL, with timeouts, and notices of commits by LISTEN.

Tables live in a schema of their own: `schema` in the URL's query, or else the name of the family
(`registry`, `answers`, `subjects`), so that one URL serves all three. A writer first takes its
schema's advisory lock, which is what `BEGIN IMMEDIATE` is on SQLite: the statements after it see
all that was committed before, and a writer that dies lets go with its connection.
"""

import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    Table,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from registry.storage.changes import POLL_SECONDS
from sealgate.reasons import Reason, SealgateError

_Found = TypeVar("_Found")

SILENCE_SECONDS = 15.0


class BoundedConnection(psycopg.Connection[Any]):
    """`patience` is how many seconds a server may say nothing while it is asked; None: for ever.

    A connection that is given up is closed, so the server rolls back whatever it was doing.
    """

    patience: float | None = SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, _Found], *given: Any, **named: Any) -> _Found:
        """Raises: psycopg.OperationalError."""
        return super().wait(self._heard(gen), *given, **named)

    def _heard(self, gen: Generator[Any, Any, _Found]) -> Generator[Any, Any, _Found]:
        """`gen` asks what to wait for, and is told what came, or each tenth of a second nothing."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                came = yield wanted
                now = time.monotonic()
                if came:
                    heard = now
                elif self.patience is not None and now - heard > self.patience:
                    self.close()
                    raise psycopg.OperationalError("the server does not answer")
                wanted = gen.send(came)
        except StopIteration as end:
            found: _Found = end.value
            return found


BEGIN_WRITING = "SELECT pg_advisory_xact_lock(hashtext('sealgate'), hashtext(current_schema()))"
"""The first statement of a write transaction: it waits for other writers of the schema."""

CHANNEL = "sealgate_registry"
"""Where the registry's trigger (revision 0002) tells of every change of state."""

SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# A server that is not there, or no longer, is given up: by who connects, and where bytes that were
# sent are not acknowledged (in milliseconds), or nothing was to be sent. The URL may say otherwise.
_REACHING = {
    "connect_timeout": 3,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_POOL_SIZE = 5
_POOL_OVERFLOW = 10
# A writer that hangs in the middle is ended, and with that its lock.
_IDLE_MS = 60_000
# While a listener is connected, it has one look a second all the same: a notice that was lost on
# the way, in a pooler for instance, costs a second at most.
_LOOK_SECONDS = 1.0
_RECONNECT_SECONDS = 0.25


def new_engine(url: URL, family: str, busy_ms: int) -> Engine:
    """An engine whose connections use the schema of `url`, which is made where there is none.

    Raises SealgateError(REGISTRY_UNAVAILABLE) for a schema of another form, and where a commit
    would not survive a crash.
    """
    schema = str(url.query.get("schema", family))
    if not SCHEMA_NAME.fullmatch(schema):
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, f"schema {schema!r} is not a plain name")
    settings = {
        "search_path": schema,
        "lock_timeout": busy_ms,
        "idle_in_transaction_session_timeout": _IDLE_MS,
    }
    options = " ".join(f"-c{name}={value}" for name, value in settings.items())
    given = url.query.get("options", "")
    plain = url.difference_update_query(["schema"]).set(drivername="postgresql+psycopg")
    engine = create_engine(
        plain.update_query_dict({"options": f"{given} {options}".strip()}),
        connect_args={name: v for name, v in _REACHING.items() if name not in url.query},
        pool_pre_ping=True,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=busy_ms / 1000,
    )
    event.listen(engine, "do_connect", _connected)
    try:
        _prepare(engine, schema)
    except BaseException:
        engine.dispose()
        raise
    return engine


def take_turn(connection: Connection) -> None:
    """Wait for other writers of the schema, and keep them out until the transaction ends."""
    connection.exec_driver_sql(BEGIN_WRITING)


@contextmanager
def patience(connection: Connection) -> Iterator[None]:
    """Let the block's statements take as long as they take: a new index of a large table may."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, BoundedConnection):
        raise SealgateError(Reason.INTERNAL, "not ours")
    driver.patience = None
    try:
        yield
    finally:
        del driver.patience


def vacuum(engine: Engine, tables: Iterable[Table], rewrite: bool) -> None:
    """VACUUM tables; with `rewrite`, FULL, which writes their files anew and keeps others out.

    Rows that an open transaction of anybody can still see stay until the next VACUUM. So do copies
    in PostgreSQL's write-ahead log, its archive and backups.
    """
    words = "VACUUM (FULL)" if rewrite else "VACUUM"
    quote = engine.dialect.identifier_preparer.format_table
    with (
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
        patience(connection),
    ):
        for table in tables:
            connection.execute(text(f"{words} {quote(table)}"))


class Listener:
    """Hears of commits by LISTEN within a millisecond, on a connection outside the pool.

    While it has no connection it says "look" every 10 ms, as a poll would, and tries to connect.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = create_engine(engine.url, poolclass=NullPool, connect_args=_REACHING)
        event.listen(self.engine, "do_connect", _connected)
        self._connection: psycopg.Connection | None = None
        self._connect_at = 0.0
        self._look_at = 0.0

    @property
    def connected(self) -> bool:
        """Whether notices can arrive."""
        return self._connection is not None

    def wait(self, seconds: float) -> bool:
        """Wait for a notice; see `Changes.wait`."""
        if self._connection is None:
            self._connect()
            if self._connection is None:
                time.sleep(min(seconds, POLL_SECONDS))
            # No notice came of changes before it listened.
            return True
        try:
            heard = list(self._connection.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error:
            self._drop()
            return True
        if not heard and time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return True

    def wake(self) -> None:
        """Does nothing: whoever waits asks for parts of a second."""

    def close(self) -> None:
        """End the connection."""
        self._drop()
        self.engine.dispose()

    def _connect(self) -> None:
        if time.monotonic() < self._connect_at:
            return
        try:
            pooled = self.engine.raw_connection()
            driver = pooled.driver_connection
            pooled.detach()
            if not isinstance(driver, psycopg.Connection):
                raise SealgateError(Reason.INTERNAL, "not psycopg")
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
        except (SQLAlchemyError, psycopg.Error):
            self._connect_at = time.monotonic() + _RECONNECT_SECONDS
            return
        self._connection = driver

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _connected(_dialect: Any, _record: Any, given: Any, named: Any) -> BoundedConnection:
    return BoundedConnection.connect(*given, **named)


def _prepare(engine: Engine, schema: str) -> None:
    with engine.begin() as connection:
        # Several gateways may start at once.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("sealgate schemas"))))
        if connection.scalar(text("SHOW synchronous_commit")) == "off":
            raise SealgateError(
                Reason.REGISTRY_UNAVAILABLE,
                "synchronous_commit is off, so a commit would not survive a crash",
            )
        # `IF NOT EXISTS` would need the right to make schemas even where it is there.
        there = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
        if connection.scalar(there, {"name": schema}) is None:
            connection.execute(text(f'CREATE SCHEMA "{schema}"'))
