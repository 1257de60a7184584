"""A disk that is full, a database that is locked or gone: changes are refused, and none is half
written.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS
from registry.log.tile_log import TileLog
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, opening
from tests.support.harness.registry import RegistryHarness

_LEAF = answer_entry.leaf(answer_entry.FIELDS, answer_entry.salts(b"key", b"nonce"))
GROUP = [LoggedAnswer(_LEAF, opening(nonce=b"nonce"))] * 64


def limit(database: Database, pages: int) -> None:
    """Let SQLite have no more than this many pages beyond those in use."""
    with database.reading() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={used + pages}")


def limit_appends(database: Database, pages: int) -> None:
    """The same on the connection that appends, which does not go back to the others."""
    with database.reading() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    with database.appending() as transaction:
        transaction.run_text(f"PRAGMA max_page_count={used + pages}")
        transaction.commit()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "answers.db", "answers", busy_ms=50)
    yield database
    database.close()


@pytest.fixture
def log(database: Database) -> AnswerLog:
    return AnswerLog(
        database, TileLog.open(database, ANSWERS, ANSWER_LOG, key("answer-log")), SUBJECTS
    )


@pytest.mark.parametrize("pages", [0, 1, 3, 7, 12])
def test_answers_are_not_recorded_on_a_full_disk(
    database: Database, log: AnswerLog, pages: int
) -> None:
    log.append(GROUP)
    note = log.note
    limit_appends(database, pages)
    with refused(Reason.RECORD_FAILED):
        for _ in range(100):
            note = log.note
            log.append(GROUP)
    assert log.note == note == log.reader.checkpoint()
    assert log.reader.verify().size == log.size
    limit_appends(database, 10_000)
    log.append(GROUP)
    assert log.reader.verify().size == log.size


def test_nothing_is_registered_on_a_full_disk(tmp_path: Path) -> None:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    version = harness.publish()
    limit(harness.database, 0)
    size = harness.registry.log.size()
    with refused(Reason.RECORD_FAILED):
        for number in range(1000):
            harness.registry.models.create("paula", f"model-{number}")
            size = harness.registry.log.size()
    assert harness.registry.verify().size == harness.registry.log.size() == size
    limit(harness.database, 10_000)
    harness.release(version)
    harness.registry.verify()
    harness.registry.close()


def test_a_locked_database_is_refused_after_a_wait(
    tmp_path: Path, database: Database, log: AnswerLog
) -> None:
    log.append(GROUP)
    other = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        log.append(GROUP)
    # Readers wait for nobody.
    assert log.reader.size() == 64
    other.execute("ROLLBACK")
    other.close()
    assert log.append(GROUP).first == 64


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_bytes(b"not a database" * 1000)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)


def test_a_missing_folder(tmp_path: Path) -> None:
    with refused(Reason.REGISTRY_UNAVAILABLE):
        AnswerLog.open(tmp_path / "none" / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)


def test_a_database_that_was_overwritten(tmp_path: Path, database: Database) -> None:
    log = TileLog.open(database, ANSWERS, ANSWER_LOG, key("answer-log"))
    reader = LogReader(database, ANSWERS, lambda: log.vkey)
    answers = AnswerLog(database, log, SUBJECTS)
    answers.append(GROUP)
    with sqlite3.connect(tmp_path / "answers.db") as other:
        other.execute("DROP TABLE log_leaves")
    other.close()
    with refused(Reason.RECORD_FAILED):
        answers.append(GROUP)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        reader.entry(0)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        reader.verify()
    assert answers.size == 64


def test_a_database_of_a_later_release(tmp_path: Path) -> None:
    Database.open(tmp_path / "answers.db", "answers").close()
    with sqlite3.connect(tmp_path / "answers.db") as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(tmp_path / "answers.db", "answers")
