"""Counts of quotas in PostgreSQL, so that gateways count together: a storage of `limits`.

One small table, in the schema that the URL's `schema` names (`quotas`), with a row for each caller
and window: no more than the policy has principals and the configuration quotas. A hit is one
statement, by the server's clock alone. A crash of the server may lose the last moments' counts,
since no hit waits for the disk.

PostgreSQL as a place that gateways share beside the registry's, for the extra `postgres`.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from limits.errors import StorageError
from limits.storage import Storage
from psycopg.errors import UndefinedTable
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

from gateway.admission.token_counts import TokenReservation
from registry.storage.postgres import SCHEMA_NAME, BoundedConnection

# One transaction, since it is sent as one. The rows that go are of callers and quotas that there
# are no more.
_PREPARE = """
    SELECT pg_advisory_xact_lock(hashtext('sealgate quotas'));
    CREATE SCHEMA IF NOT EXISTS {schema};
    CREATE TABLE IF NOT EXISTS counts (
        key text PRIMARY KEY, hits bigint NOT NULL, ends timestamptz NOT NULL
    ) WITH (fillfactor = 50);
    DELETE FROM counts WHERE key IN (
        SELECT key FROM counts WHERE ends <= statement_timestamp() LIMIT 10000
        FOR UPDATE SKIP LOCKED
    )
"""
_HIT = """
    INSERT INTO counts AS c (key, hits, ends)
    VALUES (%(key)s, %(amount)s, statement_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (key) DO UPDATE SET
        hits = EXCLUDED.hits + CASE WHEN c.ends > statement_timestamp() THEN c.hits ELSE 0 END,
        ends = CASE WHEN c.ends > statement_timestamp() THEN c.ends ELSE EXCLUDED.ends END
    RETURNING hits
"""
# No row comes of tokens that are too many.
_TAKE = """
    INSERT INTO counts AS c (key, hits, ends)
    SELECT %(key)s, %(tokens)s, statement_timestamp() + make_interval(secs => %(seconds)s)
    WHERE %(tokens)s <= %(most)s
    ON CONFLICT (key) DO UPDATE SET
        hits = EXCLUDED.hits + CASE WHEN c.ends > statement_timestamp() THEN c.hits ELSE 0 END,
        ends = CASE WHEN c.ends > statement_timestamp() THEN c.ends ELSE EXCLUDED.ends END
    WHERE EXCLUDED.hits + CASE WHEN c.ends > statement_timestamp() THEN c.hits ELSE 0 END
        <= %(most)s
    RETURNING hits, extract(epoch FROM ends - statement_timestamp())::float8, ends
"""
# A window is known by its end: no two of one key have the same.
_GIVE_BACK = """
    UPDATE counts SET hits = hits - %(tokens)s
    WHERE key = %(key)s AND ends = %(ends)s AND ends > statement_timestamp()
"""
_ANY = 1 << 62
_WAIT_SECONDS = 1.0
_GET = "SELECT hits FROM counts WHERE key = %(key)s AND ends > statement_timestamp()"
_LEFT = (
    "SELECT extract(epoch FROM ends - statement_timestamp())::float8 FROM counts"
    " WHERE key = %(key)s AND ends > statement_timestamp()"
)
_CLEAR = "DELETE FROM counts WHERE key = %(key)s"
_RESET = "DELETE FROM counts"
# Seconds; libpq takes no shorter time to connect.
_CONNECT_SECONDS = 2
_STATEMENT_MS = 1000
_CONNECTIONS = 16


class PostgresStorage(Storage):
    """Connects when first asked. Safe for many threads.

    Raises ValueError for a URL of another form; otherwise `base_exceptions`, or StorageError in
    their stead with `wrap_exceptions`, within a few seconds.
    """

    STORAGE_SCHEME = ["postgresql"]  # noqa: RUF012

    def __init__(self, uri: str, wrap_exceptions: bool = False, **_: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._engine, self._schema = open_shared(
            uri, "quotas", "-csynchronous_commit=off", isolation_level="AUTOCOMMIT"
        )
        self._preparing = threading.Lock()
        self._prepared = False

    @property
    def base_exceptions(self) -> type[Exception]:
        return SQLAlchemyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counts, in one statement; the window begins where none is open, for `expiry` seconds."""
        return int(self._scalar(_HIT, {"key": key, "amount": amount, "seconds": expiry}))

    def get(self, key: str) -> int:
        return int(self._scalar(_GET, {"key": key}) or 0)

    def get_expiry(self, key: str) -> float:
        """When the window ends, by this machine's clock; how long that is, the server says."""
        return time.time() + float(self._scalar(_LEFT, {"key": key}) or 0.0)

    def take(self, key: str, seconds: int, tokens: int, most: int | None) -> TokenReservation:
        """See `gateway.admission.token_counts.TokenCounts`; a place is a window's end."""
        values = {"key": key, "tokens": tokens, "most": _ANY if most is None else most}
        try:
            row = self._again(_TAKE, {**values, "seconds": seconds})
            if row is None:
                left = self._again(_LEFT, values)
                return TokenReservation(0, left[0] if left else float(seconds), None)
        except SQLAlchemyError as error:
            raise StorageError(error) from error
        return TokenReservation(*row)

    def give_back(self, key: str, place: Any, tokens: int) -> None:
        """See `gateway.admission.token_counts.TokenCounts`. It is not asked twice: at worst they
        are lost.
        """
        if not tokens:
            return
        try:
            with self._engine.connect() as connection:
                self._prepare(connection)
                values = {"key": key, "tokens": tokens, "ends": place}
                connection.exec_driver_sql(_GIVE_BACK, values)
        except SQLAlchemyError as error:
            raise StorageError(error) from error

    def check(self) -> bool:
        try:
            return bool(self._scalar("SELECT 1", {}))
        except SQLAlchemyError:
            return False

    def reset(self) -> int | None:
        with self._engine.connect() as connection:
            self._prepare(connection)
            return connection.exec_driver_sql(_RESET).rowcount

    def clear(self, key: str) -> None:
        with self._engine.connect() as connection:
            self._prepare(connection)
            connection.exec_driver_sql(_CLEAR, {"key": key})

    def _scalar(self, query: str, values: Mapping[str, Any]) -> Any:
        row = self._again(query, values)
        return row[0] if row is not None else None

    def _again(self, query: str, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """The first row, asked for twice where the connection or the table was lost."""
        try:
            return self._ask(query, values)
        except DBAPIError as error:
            if isinstance(error.orig, UndefinedTable):
                # Another server has taken over that never had the table.
                self._prepared = False
            elif not error.connection_invalidated:
                raise
            # The server was started anew; the pool has dropped what it had. At worst, a hit
            # counts twice.
            return self._ask(query, values)

    def _ask(self, query: str, values: Mapping[str, Any]) -> Sequence[Any] | None:
        with self._engine.connect() as connection:
            self._prepare(connection)
            return connection.exec_driver_sql(query, dict(values)).first()

    def _prepare(self, connection: Connection) -> None:
        if self._prepared:
            return
        if not self._preparing.acquire(timeout=_WAIT_SECONDS):
            raise TimeoutError("the table is not ready")
        try:
            if not self._prepared:
                connection.exec_driver_sql(_PREPARE.format(schema=self._schema))
                self._prepared = True
        finally:
            self._preparing.release()


class _SharedConnection(BoundedConnection):
    """Gives up a server that hangs: its own `statement_timeout` needs one that runs."""

    patience = 2.0


def open_shared(url: str, schema: str, settings: str = "", **more: Any) -> tuple[Engine, str]:
    """Return an engine that connects when first asked, and the schema that the URL names, or else
    `schema`, which its connections use. `settings` are further ones of a connection, `more` is for
    `create_engine`.

    Raises ValueError for a URL of another form; its text may hold the password.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        raise ValueError("it is not of the form postgresql://user@host/database") from None
    schema = str(parsed.query.get("schema", schema))
    if not SCHEMA_NAME.fullmatch(schema):
        raise ValueError("its schema is not a plain name")
    options = f"-csearch_path={schema} -cstatement_timeout={_STATEMENT_MS} {settings}".rstrip()
    engine = create_engine(
        parsed.difference_update_query(["schema"]).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            # Where a network is cut without a word, nobody else gives up for a quarter of an hour.
            "tcp_user_timeout": 1000 * _CONNECT_SECONDS,
            "options": options,
        },
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_STATEMENT_MS / 1000,
        **more,
    )
    event.listen(engine, "do_connect", _connected)
    return engine, schema


def _connected(_dialect: Any, _record: Any, given: Any, named: Any) -> BoundedConnection:
    return _SharedConnection.connect(*given, **named)
