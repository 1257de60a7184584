"""A database that hangs is given up, and found again; who follows it goes on."""

import secrets
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from registry.storage.database import Database
from registry.storage.postgres import BoundedConnection, Listener
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.harness.rollouts import await_true
from tests.support.harness.servers.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def database(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database whose answers are awaited for one second, once it is open."""
    database = Database.open(server.schema_url(f"test_{secrets.token_hex(6)}"), "registry")
    monkeypatch.setattr(BoundedConnection, "patience", 1.0)
    yield database
    database.close()


def test_a_hung_database_is_given_up_and_found_again(
    server: PostgresServer, database: Database
) -> None:
    server.pause()
    try:
        begun = time.monotonic()
        with refused(Reason.REGISTRY_UNAVAILABLE), database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        with refused(Reason.REGISTRY_UNAVAILABLE), database.writing():
            pass
        assert time.monotonic() - begun < 60
    finally:
        server.resume()
    # On a loaded machine it may be silent for a second more.
    await_true(lambda: answers(database))


def answers(database: Database) -> bool:
    try:
        with database.writing() as connection:
            connection.exec_driver_sql("SELECT 1")
    except SealgateError:
        return False
    return True


def test_a_slow_answer_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long answer is no silence, nor is a short wait."""
    monkeypatch.setattr(BoundedConnection, "patience", 4.0)
    with database.reading() as connection:
        # Each row is sent as it comes, and all together take longer than silence is borne.
        many = "SELECT repeat('x', 100000), pg_sleep(0.25) FROM generate_series(1, 20)"
        assert len(connection.exec_driver_sql(many).all()) == 20
        connection.exec_driver_sql("SELECT pg_sleep(0.5)")


def test_a_silent_statement_is_rolled_back(database: Database) -> None:
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (x INTEGER)")
        connection.exec_driver_sql("SELECT pg_sleep(5)")
    with refused(Reason.REGISTRY_UNAVAILABLE), database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM kept")


@pytest.mark.timeout(180)
def test_a_listener_goes_on_after_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer()
    try:
        database = Database.open(server.schema_url(f"test_{secrets.token_hex(6)}"), "registry")
        monkeypatch.setattr(BoundedConnection, "patience", 1.0)
        listener = database.changes()
        assert isinstance(listener, Listener)
        event.listen(listener.engine, "connect", lambda *_: server.pause(), once=True)
        begun = time.monotonic()
        assert listener.wait(0.1)
        assert not listener.connected
        assert time.monotonic() - begun < 60
        server.resume()
        until = time.monotonic() + 60
        while not listener.connected and time.monotonic() < until:
            listener.wait(0.1)
        assert listener.connected
        listener.close()
        database.close()
    finally:
        server.resume()
        server.close()
