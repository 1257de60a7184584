"""The write-ahead log is copied beside the commits, and stays short under a steady load."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry.storage.sqlite import Checkpointer
from tests.support.harness.rollouts import await_true

PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x BLOB)")
    return path


@pytest.fixture
def writer(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that never copies by itself."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        yield connection


def commit(writer: sqlite3.Connection) -> None:
    writer.execute("INSERT INTO t VALUES (randomblob(4000))")


def test_it_copies_after_enough_rows(database: Path, writer: sqlite3.Connection) -> None:
    checkpointer = Checkpointer(str(database), every=10)
    for _ in range(9):
        commit(writer)
        checkpointer.written(1)
    assert checkpointer.copied == 0
    commit(writer)
    checkpointer.written(1)
    await_true(lambda: checkpointer.copied == 1)
    assert database.stat().st_size >= 10 * PAGE
    checkpointer.close()


def test_the_log_stays_short_while_commits_go_on(
    database: Path, writer: sqlite3.Connection
) -> None:
    checkpointer = Checkpointer(str(database), every=8)
    log = Path(f"{database}-wal")
    for number in range(1, 2001):
        commit(writer)
        checkpointer.written(1)
        if number % 64 == 0:
            # As a load that leaves the disk some time.
            copied = checkpointer.copied
            checkpointer.written(8)
            await_true(lambda copied=copied: checkpointer.copied > copied)
    assert log.stat().st_size < 400 * PAGE
    checkpointer.close()
    assert writer.execute("SELECT count(*) FROM t").fetchone() == (2000,)


def test_a_reader_holds_nobody_up(database: Path, writer: sqlite3.Connection) -> None:
    """Pages that a reader still needs are copied later; commits continue."""
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        checkpointer = Checkpointer(str(database), every=1)
        commit(writer)
        checkpointer.written(1)
        await_true(lambda: checkpointer.copied >= 1)
        commit(writer)
    checkpointer.close()


def test_a_database_that_cannot_be_opened_ends_it_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpointer = Checkpointer(str(tmp_path / "none" / "some.db"), every=1)
    checkpointer.written(1)
    await_true(lambda: "not copied" in caplog.text)
    checkpointer.written(1)
    checkpointer.close()


def test_without_rows_there_is_no_thread(database: Path) -> None:
    before = threading.active_count()
    checkpointer = Checkpointer(str(database))
    checkpointer.written(1)
    assert threading.active_count() == before
    checkpointer.close()
