"""Two that open a new database at once: the second to ask for WAL mode was told "locked" at once.

SQLite's busy timeout does not cover the change of journal mode while another connection writes.
"""

import sqlite3
import threading
from pathlib import Path

import pytest

from registry.database import Database
from sealgate.reasons import Reason
from tests.support.people import refused


@pytest.fixture
def writer(tmp_path: Path) -> sqlite3.Connection:
    """A connection about to write to a file that is not yet in WAL mode."""
    connection = sqlite3.connect(
        tmp_path / "registry.db", isolation_level=None, check_same_thread=False
    )
    connection.execute("CREATE TABLE other (id INTEGER)")
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_new_database_waits_for_who_writes_it(tmp_path: Path, writer: sqlite3.Connection) -> None:
    release = threading.Timer(0.2, writer.execute, ["COMMIT"])
    release.start()
    Database.open_file(tmp_path / "registry.db", "registry").close()
    release.join()
    writer.close()


def test_it_waits_no_longer_than_it_was_told(tmp_path: Path, writer: sqlite3.Connection) -> None:
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open_file(tmp_path / "registry.db", "registry", busy_ms=50)
    writer.close()
