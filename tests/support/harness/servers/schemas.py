"""Schemas of a registry and its answer log that tests use one after another on PostgreSQL: to make
their tables takes longer than most tests, and to empty them a hundredth of that.
"""

import secrets
import time
from contextlib import suppress

from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import DropSchema

from registry.storage.database import Database
from tests.support.harness.registry_tables import make_tables
from tests.support.harness.servers.postgres import other_schema

# Of every object in the schemas, which transaction wrote what the catalogue says of it.
_CATALOGUE = """
SELECT md5(string_agg(said, ' ' ORDER BY said)) FROM (
    SELECT 's' || oid || ':' || xmin AS said FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL SELECT 'c' || c.oid || ':' || c.xmin FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL SELECT 'a' || c.oid || ':' || attnum || ':' || a.xmin FROM pg_attribute a
        JOIN pg_class c ON c.oid = attrelid
        JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL SELECT 't' || t.oid || ':' || t.xmin FROM pg_trigger t
        JOIN pg_class c ON c.oid = tgrelid
        JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL SELECT 'k' || k.oid || ':' || k.xmin FROM pg_constraint k
        JOIN pg_namespace n ON n.oid = connamespace WHERE nspname = ANY(%(schemas)s)
    UNION ALL SELECT 'p' || p.oid || ':' || p.xmin FROM pg_proc p
        JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = ANY(%(schemas)s)
) AS catalogue"""
_TABLES = """
SELECT schemaname, tablename FROM pg_tables
WHERE schemaname = ANY(%(schemas)s) AND tablename <> 'alembic_version'"""
_RESTART = """
SELECT setval(format('%%I.%%I', schemaname, sequencename)::regclass, start_value, false)
FROM pg_sequences WHERE schemaname = ANY(%(schemas)s)"""
_CALLERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s"
# How long a connection that has been closed may take to end, before the schemas are given up.
_ENDING_SECONDS = 0.5


class EmptyTables:
    """Gives one test at a time the URL of a schema with a registry's tables, which are empty.

    An answer log's are in the schema of that name with `_answers` behind it.

    A test whose connections stay, or that changes anything but rows, is the last in its schemas.
    """

    def __init__(self, url: str, ending: float = _ENDING_SECONDS) -> None:
        """`url` is the server's. For so many seconds at most it waits until nobody is connected."""
        self._ending = ending
        self._url = make_url(url).update_query_dict({"connect_timeout": "60"})
        self._engine: Engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool
        )
        self._name = ""
        self._catalogue = ""

    def take(self) -> str:
        """The URL for the next test."""
        if not self._name:
            self._make()
        named = self._url.update_query_dict({"application_name": self._name})
        return other_schema(named.render_as_string(hide_password=False), self._name)

    def give_back(self) -> None:
        """Empty the tables, or drop the schemas, if the test has left more than rows."""
        with suppress(DBAPIError), self._engine.begin() as connection:
            if self._reusable(connection):
                self._empty(connection)
                return
        self.drop()

    def drop(self) -> None:
        """Drop the schemas and those whose names begin alike."""
        name, self._name = self._name, ""
        if not name:
            return
        with self._engine.begin() as connection:
            for schema in _schemas(connection, name):
                connection.execute(DropSchema(schema, cascade=True))

    def _make(self) -> None:
        self._name = f"test_{secrets.token_hex(6)}"
        url = other_schema(self._url.render_as_string(hide_password=False), self._name)
        make_tables(url)
        Database.open(other_schema(url, f"{self._name}_answers"), "answers").close()
        with self._engine.begin() as connection:
            self._catalogue = self._said(connection)

    def _reusable(self, connection: Connection) -> bool:
        """Whether nobody is connected, and the catalogue says what it did."""
        deadline = time.monotonic() + self._ending
        while connection.exec_driver_sql(_CALLERS, {"name": self._name}).scalar():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return set(_schemas(connection, self._name)) == set(self._schemas) and (
            self._said(connection) == self._catalogue
        )

    def _empty(self, connection: Connection) -> None:
        schemas = {"schemas": self._schemas}
        connection.exec_driver_sql("SET LOCAL lock_timeout = 5000")
        # Neither triggers nor foreign keys act.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for schema, table in connection.exec_driver_sql(_TABLES, schemas).all():
            connection.exec_driver_sql(f'DELETE FROM "{schema}"."{table}"')  # noqa: S608
        connection.exec_driver_sql(_RESTART, schemas)

    def _said(self, connection: Connection) -> str:
        return str(connection.exec_driver_sql(_CATALOGUE, {"schemas": self._schemas}).scalar())

    @property
    def _schemas(self) -> list[str]:
        return [self._name, f"{self._name}_answers"]


def _schemas(connection: Connection, name: str) -> list[str]:
    """The schemas whose names begin with this one."""
    query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %(name)s)"
    return list(connection.exec_driver_sql(query, {"name": name}).scalars())
