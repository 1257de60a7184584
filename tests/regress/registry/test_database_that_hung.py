"""A database that hung, its connections standing, held whoever asked it for as long as it hung: in
the end all threads, and the one by which revocations arrive.
"""

import secrets
import time
from collections.abc import Iterator

import pytest

from registry.database import Database
from registry.postgres_connection import BoundedConnection
from sealgate.reasons import Reason
from tests.support.people import refused
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """Of which silence is borne for a second."""
    monkeypatch.setattr(BoundedConnection, "patience", 1.0)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    database = Database.open(server.schema_url(f"test_{secrets.token_hex(6)}"), "registry")
    yield database
    database.close()


def test_is_given_up_and_found_again(server: PostgresServer, database: Database) -> None:
    server.pause()
    try:
        begun = time.monotonic()
        with refused(Reason.REGISTRY_UNAVAILABLE), database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        with refused(Reason.REGISTRY_UNAVAILABLE), database.writing():
            pass
        assert time.monotonic() - begun < 20
    finally:
        server.resume()
    with database.writing() as connection:
        connection.exec_driver_sql("SELECT 1")


def test_who_hears_something_goes_on_waiting(database: Database) -> None:
    """A long answer is no silence, nor is a short wait."""
    with database.reading() as connection:
        many = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
        assert len(connection.exec_driver_sql(many).all()) == 20_000
        connection.exec_driver_sql("SELECT pg_sleep(0.5)")


def test_what_takes_long_without_a_word_is_rolled_back(database: Database) -> None:
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (x INTEGER)")
        connection.exec_driver_sql("SELECT pg_sleep(5)")
    with refused(Reason.REGISTRY_UNAVAILABLE), database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM kept")
