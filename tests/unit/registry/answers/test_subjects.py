"""A destroyed key stays destroyed, though an old copy of the database is put back."""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from registry.answers.subject_keys import SubjectKeys, key_digest
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused


@pytest.fixture
def backup(tmp_path: Path) -> tuple[Path, bytes]:
    """A copy of the database from before the erasure of patient-4711, and its key."""
    with closing(SubjectKeys.open(tmp_path / "subjects.db")) as keys:
        secret = keys.key("patient-4711")
        keys.key("patient-4712")
    copy = tmp_path / "backup" / "subjects.db"
    copy.parent.mkdir()
    shutil.copy(tmp_path / "subjects.db", copy)
    return copy, secret


def test_a_database_put_back_is_cleaned_at_the_start(
    backup: tuple[Path, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    place, secret = backup
    with caplog.at_level(logging.ERROR), closing(SubjectKeys.open(place, {key_digest(secret)})):
        pass
    assert "1 destroyed keys were put back" in caplog.text
    assert "patient" not in caplog.text
    files = [path.read_bytes() for path in place.parent.iterdir()]
    assert not any(secret in data or b"patient-4711" in data for data in files)
    with closing(SubjectKeys.open(place)) as keys:
        keys.known_key("patient-4712")
        with refused(Reason.ENTRY_UNKNOWN):
            keys.known_key("patient-4711")


def test_a_row_put_back_while_it_runs_opens_nothing(
    backup: tuple[Path, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    place, secret = backup
    with closing(SubjectKeys.open(place)) as keys:
        assert keys.digest("patient-4711") == key_digest(secret)
        keys.destroy("patient-4711")
        assert keys.digest("patient-4711") is None
        with closing(sqlite3.connect(place)) as connection:
            connection.execute(
                "INSERT INTO subject_keys (subject, key) VALUES ('patient-4711', ?)", (secret,)
            )
            connection.commit()
        with refused(Reason.ENTRY_UNKNOWN):
            keys.known_key("patient-4711")
        with caplog.at_level(logging.ERROR):
            fresh = keys.key("patient-4711")
        assert fresh != secret
        assert "put back" in caplog.text
        assert keys.known_key("patient-4711") == fresh


class Interrupted:
    """A database after whose next write transaction somebody else does something."""

    def __init__(self, database, then) -> None:
        self._database = database
        self._then = then

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        then, self._then = self._then, None
        with self._database.writing() as connection:
            yield connection
        if then is not None:
            then()


def test_a_key_read_while_it_is_destroyed_is_forgotten(tmp_path: Path) -> None:
    keys = SubjectKeys.open(tmp_path / "subjects.db")
    keys.key("patient")
    keys.cached.cache_clear()
    keys.database = Interrupted(keys.database, lambda: keys.destroy("patient"))
    erased = keys.key("patient")
    later = keys.key("patient")
    assert later != erased
    assert keys.known_key("patient") == later
    keys.close()
