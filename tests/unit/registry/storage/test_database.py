"""Opening a database, its transactions, and what it says of changes."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from registry.state import schema
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

_FRESH = {"slot": 1, "sequence": 1, "envelope": b""}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "registry.db", "registry", busy_ms=50)
    yield database
    database.close()


def test_opening_again_changes_nothing(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        connection.execute(insert(schema.FRESHNESS), _FRESH)
        connection.commit()
    database.close()
    again = Database.open(tmp_path / "registry.db", "registry")
    with again.reading() as connection:
        assert len(connection.execute(select(schema.FRESHNESS)).all()) == 1
    again.close()


def test_only_the_owner_can_read(database: Database, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_makes_a_commit_durable(database: Database) -> None:
    with database.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in (
                "journal_mode",
                "synchronous",
                "wal_autocheckpoint",
                "foreign_keys",
                "busy_timeout",
            )
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "wal_autocheckpoint": 4000,
        "foreign_keys": 1,
        "busy_timeout": 50,
    }


def test_nothing_is_written_without_a_commit(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(schema.FRESHNESS), _FRESH)
    with database.reading() as connection:
        assert connection.execute(select(schema.FRESHNESS)).all() == []


def test_nothing_is_written_when_the_block_fails(database: Database) -> None:
    def fail() -> None:
        with database.writing() as connection:
            connection.execute(insert(schema.FRESHNESS), _FRESH)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.reading() as connection:
        assert connection.execute(select(schema.FRESHNESS)).all() == []


def test_a_row_that_contradicts_another(database: Database) -> None:
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        connection.execute(insert(schema.FRESHNESS), _FRESH)
        connection.execute(insert(schema.FRESHNESS), _FRESH)


def test_a_row_without_its_entry(database: Database) -> None:
    row = {"model": "digits", "entry": 7, "time": "", "principal": "paula"}
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        connection.execute(insert(schema.MODELS), row)
        connection.commit()


def test_a_reader_sees_one_state(database: Database) -> None:
    with database.reading() as reader:
        assert reader.execute(select(schema.FRESHNESS)).all() == []
        with database.writing() as writer:
            writer.execute(insert(schema.FRESHNESS), _FRESH)
            writer.commit()
        assert reader.execute(select(schema.FRESHNESS)).all() == []


def test_a_reader_does_not_write(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with database.reading() as reader:
        assert reader.execute(select(schema.FRESHNESS)).all() == []
    with refused(Reason.REGISTRY_UNAVAILABLE), database.writing():
        pass
    other.close()


def test_change_token_tells_of_others_too(database: Database, tmp_path: Path) -> None:
    tokens = [database.change_token(), database.change_token()]
    assert tokens[0] == tokens[1]
    with database.writing() as connection:
        connection.execute(insert(schema.FRESHNESS), _FRESH)
        connection.commit()
    tokens.append(database.change_token())
    with sqlite3.connect(tmp_path / "registry.db") as other:
        other.execute("DELETE FROM freshness")
    other.close()
    tokens.append(database.change_token())
    assert len(set(tokens)) == 3


def test_a_folder_that_is_not_there() -> None:
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open("sqlite:////nowhere/at/all.db", "registry")


@pytest.fixture
def writer(tmp_path: Path) -> sqlite3.Connection:
    """A connection about to write to a file that is not yet in WAL mode."""
    connection = sqlite3.connect(
        tmp_path / "registry.db", isolation_level=None, check_same_thread=False
    )
    connection.execute("CREATE TABLE other (id INTEGER)")
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_opening_a_new_database_waits_for_its_writer(
    tmp_path: Path, writer: sqlite3.Connection
) -> None:
    release = threading.Timer(0.2, writer.execute, ["COMMIT"])
    release.start()
    Database.open(tmp_path / "registry.db", "registry").close()
    release.join()
    writer.close()


def test_opening_waits_no_longer_than_its_timeout(
    tmp_path: Path, writer: sqlite3.Connection
) -> None:
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(tmp_path / "registry.db", "registry", busy_ms=50)
    writer.close()
