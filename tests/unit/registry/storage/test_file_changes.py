"""Commits are noticed at once, whoever makes them, and nothing is polled in between."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from registry.storage.changes import POLL_SECONDS, FileChanges, PollingChanges, changes_of
from registry.storage.database import Database

LONG = 60.0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
    return path


def waits(changes: FileChanges) -> threading.Thread:
    """A thread that waits, and has begun to."""
    thread = threading.Thread(target=changes.wait, args=(LONG,), daemon=True)
    thread.start()
    return thread


def commit(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()


def test_a_commit_ends_the_wait(database: Path) -> None:
    writer = sqlite3.connect(database)
    changes = FileChanges(database)
    thread = waits(changes)
    writer.execute("INSERT INTO t VALUES (1)")
    writer.commit()
    thread.join(LONG / 2)
    assert not thread.is_alive()


def test_a_commit_of_another_process_ends_the_wait(database: Path) -> None:
    kept = sqlite3.connect(database)
    kept.execute("SELECT * FROM t").fetchall()
    changes = FileChanges(database)
    thread = waits(changes)
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM t')"
    subprocess.run([sys.executable, "-c", f"{code}; c.commit()", str(database)], check=True)
    thread.join(LONG / 2)
    assert not thread.is_alive()


def test_a_commit_before_the_wait_is_not_missed(database: Path) -> None:
    changes = FileChanges(database)
    commit(database)
    began = time.monotonic()
    assert changes.wait(LONG)
    assert time.monotonic() - began < LONG / 2


def test_a_write_ahead_log_that_is_made_anew_is_watched(database: Path) -> None:
    """The last connection that closes removes it."""
    changes = FileChanges(database)
    commit(database)
    assert not Path(f"{database}-wal").exists()
    changes.wait(0)
    writer = sqlite3.connect(database)
    writer.execute("INSERT INTO t VALUES (1)")
    writer.commit()
    changes.wait(LONG)
    thread = waits(changes)
    writer.execute("INSERT INTO t VALUES (2)")
    writer.commit()
    thread.join(LONG / 2)
    assert not thread.is_alive()


def test_the_end_of_the_wait_is_reason_to_look(database: Path) -> None:
    assert FileChanges(database).wait(0.0)


def test_a_commit_shows_after_its_write(database: Path) -> None:
    """The kernel tells of the write, and the disk may take its time after that."""
    writer = sqlite3.connect(database)
    writer.execute("INSERT INTO t VALUES (0)")
    writer.commit()
    changes = FileChanges(database)
    with Path(f"{database}-wal").open("ab") as log:
        # As a commit begins, which is not to be seen yet.
        log.write(b"\0")
    changes.wait(LONG)
    began = time.monotonic()
    changes.wait(LONG)
    assert time.monotonic() - began < LONG / 2


def test_looks_are_some_time_apart_while_there_are_writes(database: Path) -> None:
    changes = FileChanges(database)
    commit(database)
    changes.wait(LONG)
    began = time.monotonic()
    for _ in range(5):
        commit(database)
        changes.wait(LONG)
    assert time.monotonic() - began >= POLL_SECONDS


def test_a_system_that_tells_nothing_is_polled(tmp_path: Path) -> None:
    assert isinstance(changes_of(tmp_path / "none" / "x.db"), (FileChanges, PollingChanges))


def test_a_database_uses_it(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "registry.db", "registry")
    changes = database.changes()
    assert isinstance(changes, FileChanges)
    changes.close()
    database.close()


def test_a_wake_after_the_end_writes_to_nobody_else_s_file(database: Path) -> None:
    changes = FileChanges(database)
    changes.close()
    # These take the numbers that the closed ones had.
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    try:
        changes.wake()
        changes.close()
        for other in others:
            with pytest.raises(BlockingIOError):
                os.eventfd_read(other)
    finally:
        for other in others:
            os.close(other)


def test_a_file_that_goes_as_it_is_looked_for_ends_no_thread(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who wait follow revocations: an error would be the last that they see."""
    changes = FileChanges(database)
    database.unlink()
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert changes.wait(0)
    changes.close()
