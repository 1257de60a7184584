"""Sessions in PostgreSQL: one table, in the schema that the URL's `schema` names (`sessions`).

The table is unlogged: a crash of the server forgets sessions, and no request waits for the disk.
"""

import threading
import time
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.sessions.evidence import REMEMBERED
from gateway.shared_postgres import open_shared
from sealgate.reasons import Reason, Refusal

_SWEEP_SECONDS = 60.0

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
_READ = (
    "SELECT number, data FROM (SELECT number, data FROM rows WHERE session = %(session)s"
    " AND number > %(after)s ORDER BY number DESC LIMIT %(most)s) newest ORDER BY number"
)
_SWEEP = "DELETE FROM rows WHERE made < statement_timestamp() - make_interval(secs => %(seconds)s)"


class PostgresStore:
    """Connects when first asked. Safe for many threads."""

    def __init__(self, url: str, kept_seconds: int) -> None:
        """Raises ValueError for a URL of another form; its text may hold the password."""
        self._engine, self._schema = open_shared(url, "sessions", pool_pre_ping=True)
        self._kept_seconds = kept_seconds
        self._mutex = threading.Lock()
        self._sweep_at = 0.0

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        try:
            with self._engine.begin() as connection:
                self._prepare(connection)
                run = connection.exec_driver_sql
                run(_LOCK, {"session": session})
                for row in rows:
                    run(_APPEND, {"session": session, "data": row})
                place = {"session": session, "after": int(cursor or 0), "most": REMEMBERED}
                found = run(_READ, place).all()
        except SQLAlchemyError as error:
            raise Refusal(Reason.SESSION_UNKNOWN, type(error).__name__, 1.0) from error
        last = str(found[-1].number) if found else cursor
        return [bytes(row.data) for row in found], last

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, connection: Connection) -> None:
        """The table, once; and now and then, that what is old goes."""
        now = time.monotonic()
        with self._mutex:
            first, due = not self._sweep_at, now >= self._sweep_at
            if first:
                connection.exec_driver_sql(_PREPARE.format(schema=self._schema))
            if due:
                self._sweep_at = now + _SWEEP_SECONDS
        if due:
            connection.exec_driver_sql(_SWEEP, {"seconds": self._kept_seconds})
