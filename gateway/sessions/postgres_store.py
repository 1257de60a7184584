"""Sessions in PostgreSQL: one table, in the schema that the URL's `schema` names (`sessions`).

The table is unlogged: a crash of the server forgets sessions and begins their numbers anew, and no
request waits for the disk.
"""

import hashlib
import threading
import time
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from gateway.admission import CircuitBreaker
from gateway.admission.quota_postgres import open_shared
from gateway.sessions.session_rows import LONGEST_ROW, REMEMBERED, START
from sealgate.reasons import Reason, SealgateError

_SWEEP_SECONDS = 60.0
_SWEPT_ROWS = 10_000
_WAIT_SECONDS = 1.0

_PREPARE = """
    SELECT pg_advisory_xact_lock(hashtext('sealgate sessions'));
    CREATE SCHEMA IF NOT EXISTS {schema};
    CREATE UNLOGGED TABLE IF NOT EXISTS rows (
        session text NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY,
        made timestamptz NOT NULL DEFAULT statement_timestamp(), data bytea NOT NULL,
        PRIMARY KEY (session, number)
    );
    CREATE INDEX IF NOT EXISTS rows_made ON rows (made)
"""
# Held until the end of the transaction, so that numbers of one session appear in their order.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(session)s, 0))"
_APPEND = "INSERT INTO rows (session, data) VALUES (%(session)s, %(data)s)"
# A row that is too long was not written by a gateway; an empty one cannot be opened either.
_READ = """
    SELECT number, CASE WHEN length(data) <= %(longest)s THEN data ELSE '' END AS data FROM (
        SELECT number, data FROM rows WHERE session = %(session)s AND number >= %(first)s
        ORDER BY number DESC LIMIT %(most)s
    ) newest ORDER BY number
"""
_SWEEP = """
    DELETE FROM rows WHERE (session, number) IN (
        SELECT session, number FROM rows
        WHERE made < statement_timestamp() - make_interval(secs => %(seconds)s)
        LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
"""


class PostgresStore:
    """Connects when first asked. Safe for many threads. A cursor is the number of a row and a hash
    of its data, since numbers may begin anew.
    """

    def __init__(self, url: str, kept_seconds: int) -> None:
        """Raises ValueError for a URL of another form; its text may hold the password."""
        self._engine, self._schema = open_shared(url, "sessions", pool_pre_ping=True)
        self._kept_seconds = kept_seconds
        self._breaker = CircuitBreaker(Reason.SESSION_UNKNOWN)
        self._mutex = threading.Lock()
        self._is_prepared = False
        self._sweep_at = 0.0

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """See `Store`."""
        try:
            with self._breaker.calling(OperationalError, InterfaceError):
                self._prepare()
                with self._engine.begin() as connection:
                    run = connection.exec_driver_sql
                    run(_LOCK, {"session": session})
                    for row in rows[-REMEMBERED:]:
                        run(_APPEND, {"session": session, "data": row})
                    found = _newer(connection, session, cursor)
        except SQLAlchemyError as error:
            # Another server, which never had the table, may have taken over.
            self._is_prepared, self._sweep_at = False, 0.0
            raise SealgateError(Reason.SESSION_UNKNOWN, type(error).__name__, 1.0) from error
        return [data for _, data in found], _cursor(*found[-1]) if found else cursor

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        """Make the table, once, and remove old rows now and then. Raises: SESSION_UNKNOWN."""
        if time.monotonic() < self._sweep_at:
            return
        if not self._mutex.acquire(timeout=_WAIT_SECONDS):
            raise SealgateError(Reason.SESSION_UNKNOWN, "its table is not ready", _WAIT_SECONDS)
        try:
            if time.monotonic() < self._sweep_at:
                return
            with self._engine.begin() as connection:
                if not self._is_prepared:
                    connection.exec_driver_sql(_PREPARE.format(schema=self._schema))
                values = {"seconds": self._kept_seconds, "most": _SWEPT_ROWS}
                swept = connection.exec_driver_sql(_SWEEP, values).rowcount
            self._is_prepared = True
            # Where there are more of them, the next request removes those.
            self._sweep_at = time.monotonic() + _SWEEP_SECONDS * (swept < _SWEPT_ROWS)
        finally:
            self._mutex.release()


def _newer(connection: Connection, session: str, cursor: str) -> list[tuple[int, bytes]]:
    """The rows behind the cursor. Where the row at the cursor is gone, all others are newer: it was
    removed as an old one, or the server has lost the table.
    """
    values = {"session": session, "longest": LONGEST_ROW, "most": REMEMBERED + 1}
    firsts = [0] if cursor == START else [int(cursor.partition(" ")[0]), 0]
    found: list[tuple[int, bytes]] = []
    for first in firsts:
        rows = connection.exec_driver_sql(_READ, {**values, "first": first})
        found = [(row.number, bytes(row.data)) for row in rows]
        if found and _cursor(*found[0]) == cursor:
            return found[1:]
    return found[-REMEMBERED:]


def _cursor(number: int, data: bytes) -> str:
    return f"{number} {hashlib.sha256(data).hexdigest()[:16]}"
