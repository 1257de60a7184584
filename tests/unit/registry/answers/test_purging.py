"""Erased and pruned data are in no file of the database any more."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import bindparam, delete, insert

from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SUBJECT_KEYS, SubjectKeys
from registry.answers.upkeep import prune_leaves
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer


def files_with(folder: Path, *secrets: bytes) -> list[str]:
    """The files below a folder in which one of the byte strings is found."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    )


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SubjectKeys]:
    keys = SubjectKeys.open(tmp_path / "subjects.db")
    yield keys
    keys.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AnswerLog]:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    yield log
    log.close()


def sealed(folder: Path, index: int) -> bytes:
    """The encrypted opening of an entry, as its row has it."""
    with closing(sqlite3.connect(folder / "answers.db")) as connection:
        query = 'SELECT sealed FROM log_sealed_openings WHERE "index" = ?'
        return bytes(connection.execute(query, [index]).fetchone()[0])


def test_a_destroyed_key_is_in_no_file(keys: SubjectKeys, tmp_path: Path) -> None:
    secret = keys.key("patient-4711")
    keys.key("patient-4712")
    assert files_with(tmp_path, secret, b"patient-4711")
    keys.destroy("patient-4711")
    keys.purge()
    assert files_with(tmp_path, secret, b"patient-4711") == []
    assert files_with(tmp_path, b"patient-4712") == ["subjects.db"]


def test_copies_in_rearranged_pages_go_too(tmp_path: Path) -> None:
    """SQLite moves rows between pages, and zeros none of the places that they leave."""
    names = [hashlib.sha256(b"4 %d" % n).hexdigest()[: 8 + n % 32] for n in range(20_000)]
    gone = names[::7]
    with closing(Database.open(tmp_path / "subjects.db", "subjects")) as database:
        with database.writing() as connection:
            add = insert(SUBJECT_KEYS)
            connection.execute(add, [{"subject": name, "key": name.encode()} for name in names])
            connection.commit()
        with database.writing() as connection:
            is_gone = SUBJECT_KEYS.c.subject == bindparam("name")
            connection.execute(delete(SUBJECT_KEYS).where(is_gone), [{"name": n} for n in gone])
            connection.commit()
        database.purge(SUBJECT_KEYS, rewrite=True)
    data = (tmp_path / "subjects.db").read_bytes()
    assert [name for name in gone if name.encode() in data] == []


def test_what_an_earlier_release_left_goes_at_the_next_start(tmp_path: Path) -> None:
    place = tmp_path / "subjects.db"
    keys = SubjectKeys.open(place)
    secret = keys.key("patient-4711")
    keys.close()
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("DELETE FROM subject_keys")
        connection.commit()
    assert files_with(tmp_path, secret)
    SubjectKeys.open(place).close()
    assert files_with(tmp_path, secret, b"patient-4711") == []


def test_erased_openings_are_in_no_file(log: AnswerLog, tmp_path: Path) -> None:
    log.append([an_answer("patient-4711"), an_answer("patient-4712")])
    gone, kept = sealed(tmp_path, 0), sealed(tmp_path, 1)
    assert files_with(tmp_path, gone)
    assert log.openings.erase("patient-4711", log.size) == 1
    log.openings.purge()
    assert files_with(tmp_path, gone) == []
    assert files_with(tmp_path, kept) == ["answers.db"]


def test_pruned_openings_are_in_no_file(log: AnswerLog, tmp_path: Path) -> None:
    log.append([an_answer("patient-4711")] + [an_answer()] * 255)
    log.append([an_answer()])
    gone = sealed(tmp_path, 0)
    with closing(Database.open(tmp_path / "answers.db", "answers")) as database:
        assert prune_leaves(database, 256) == 256
    assert files_with(tmp_path, gone) == []


def test_an_erasure_that_a_reader_holds_up_is_not_called_finished(
    log: AnswerLog, tmp_path: Path
) -> None:
    log.append([an_answer("patient-4711")])
    gone = sealed(tmp_path, 0)
    database = Database.open(tmp_path / "answers.db", "answers")
    with closing(database), closing(sqlite3.connect(tmp_path / "answers.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log_sealed_openings").fetchone()
        log.openings.erase("patient-4711", log.size)
        with refused(Reason.ERASURE_UNFINISHED):
            database.purge(seconds=0)
        # Answers go on meanwhile, and the next attempt finishes it.
        waiting = threading.Thread(target=database.purge)
        waiting.start()
        for _ in range(20):
            log.append([an_answer()])
        reader.rollback()
        waiting.join()
    assert files_with(tmp_path, gone) == []
