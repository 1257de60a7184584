"""When every connection to the database is in use: a fixed reason within bounded time, then on."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused

_BUSY_MS = 300


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database.open(database_url, "registry", busy_ms=_BUSY_MS)
    yield database
    database.close()


def take_all(database: Database, stack: ExitStack) -> int:
    """Hold connections until there are no more; return how many there were."""
    for count in range(1000):
        try:
            connection = stack.enter_context(database.reading())
        except SealgateError:
            return count
        connection.execute(text("SELECT 1"))
    raise AssertionError("the connections have no bound")


def test_readers_and_writers_are_refused_in_time_and_go_on_afterwards(database: Database) -> None:
    with ExitStack() as stack:
        assert take_all(database, stack) > 0
        began = time.monotonic()
        with refused(Reason.REGISTRY_UNAVAILABLE), database.reading():
            pass
        with refused(Reason.REGISTRY_UNAVAILABLE), database.writing():
            pass
        assert time.monotonic() - began < 50
    with database.reading() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    with database.writing() as connection:
        connection.commit()


def test_whoever_waits_gets_the_connection_that_is_given_back(database_url: str) -> None:
    database = Database.open(database_url, "registry", busy_ms=60_000)
    answers = []

    def ask() -> None:
        with database.reading() as connection:
            answers.append(connection.scalar(text("SELECT 1")))

    with ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(database.reading())
        waiting = threading.Thread(target=ask)
        waiting.start()
        time.sleep(0.1)
        assert not answers
    waiting.join(60)
    database.close()
    assert answers == [1]
