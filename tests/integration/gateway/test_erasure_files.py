"""After an erasure nothing of the subject is in any file of a running gateway."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording.recorder import AuditRecord
from sealgate.reasons import Reason
from sealgate.v1 import log_pb2 as messages
from tests.support.house import House, refusal, running

SUBJECT = "patient-4711-of-ward-seven"
TEXT = "a text that stands in no other entry"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running(tmp_path / "state") as house:
        yield house


def record(house: House, subject: str = SUBJECT, text: str = TEXT) -> int:
    """Record an outcome about the subject; return its index."""
    values = {"method": "m", "policy_digest": "p", "outcome": "answered", "input": text}
    outcome = AuditRecord(subject, datetime.now(UTC), "client", **values)
    return house.gateway.recorder.record(outcome).proof.index


def key_of(house: House) -> bytes:
    with closing(sqlite3.connect(house.state / "subjects.db")) as connection:
        query = "SELECT key FROM subject_keys WHERE subject = ?"
        return connection.execute(query, (SUBJECT,)).fetchone()[0]


def files_with(folder: Path, *secrets: bytes) -> list[str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in paths if any(s in path.read_bytes() for s in secrets)]


def erase(house: House) -> None:
    told = house.command("subject", "erase", SUBJECT, "--yes")
    assert told.exit_code == 0, told.output


def answers(house: House) -> str:
    return next(o for o in house.logs().ListLogs(messages.ListLogsRequest()).origins if "answ" in o)


def test_no_file_has_the_key_the_name_or_the_texts(house: House) -> None:
    for number in range(3):
        record(house)
        record(house, f"somebody-{number}", "of somebody else")
    secrets = (key_of(house), SUBJECT.encode(), TEXT.encode())
    assert files_with(house.state, *secrets)
    erase(house)
    assert files_with(house.state, *secrets) == []
    assert files_with(house.state, b"somebody-0") == ["subjects.db"]
    house.stop()
    assert files_with(house.state, *secrets) == []


def test_an_old_database_of_subjects_brings_no_key_back(house: House, tmp_path: Path) -> None:
    index = record(house)
    secret = key_of(house)
    request = messages.OpenEntryRequest(origin=answers(house), index=index)
    house.logs().OpenEntry(request)
    house.stop()
    shutil.copy(house.state / "subjects.db", tmp_path / "old.db")
    house.start()
    erase(house)
    house.stop()
    shutil.copy(tmp_path / "old.db", house.state / "subjects.db")
    assert files_with(house.state, secret)
    house.start()
    assert files_with(house.state, secret, SUBJECT.encode()) == []
    assert refusal(house.logs().OpenEntry, request) is Reason.ENTRY_ERASED
