"""After an erasure nothing of the subject is in any file of a running gateway."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recording.recorder import AuditRecord
from sealgate.reasons import Reason
from sealgate.v1 import log_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, refusal, running

SUBJECT = "patient-4711-of-ward-seven"
TEXT = "a text that stands in no other entry"


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GatewayHarness]:
    with running(tmp_path / "state") as harness:
        yield harness


def record(harness: GatewayHarness, subject: str = SUBJECT, text: str = TEXT) -> int:
    """Record an outcome about the subject; return its index."""
    values = {"method": "m", "policy_digest": "p", "outcome": "answered", "input": text}
    outcome = AuditRecord(subject, datetime.now(UTC), "client", **values)
    return harness.gateway.recorder.record(outcome).proof.index


def key_of(harness: GatewayHarness) -> bytes:
    with closing(sqlite3.connect(harness.state / "subjects.db")) as connection:
        query = "SELECT key FROM subject_keys WHERE subject = ?"
        return connection.execute(query, (SUBJECT,)).fetchone()[0]


def files_with(folder: Path, *secrets: bytes) -> list[str]:
    """The gateway goes on writing: a file that is replaced meanwhile is passed over."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and any(secret in path.read_bytes() for secret in secrets):
                found.append(path.name)
    return found


def erase(harness: GatewayHarness) -> None:
    told = harness.command("subject", "erase", SUBJECT, "--yes")
    assert told.exit_code == 0, told.output


def answers(harness: GatewayHarness) -> str:
    return next(
        o for o in harness.logs().ListLogs(messages.ListLogsRequest()).origins if "answ" in o
    )


def test_no_file_has_the_key_the_name_or_the_texts(harness: GatewayHarness) -> None:
    for number in range(3):
        record(harness)
        record(harness, f"somebody-{number}", "of somebody else")
    secrets = (key_of(harness), SUBJECT.encode(), TEXT.encode())
    assert files_with(harness.state, *secrets)
    erase(harness)
    assert files_with(harness.state, *secrets) == []
    assert files_with(harness.state, b"somebody-0") == ["subjects.db"]
    harness.stop()
    assert files_with(harness.state, *secrets) == []


def test_an_old_database_of_subjects_brings_no_key_back(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    index = record(harness)
    secret = key_of(harness)
    request = messages.OpenEntryRequest(origin=answers(harness), index=index)
    harness.logs().OpenEntry(request)
    harness.stop()
    shutil.copy(harness.state / "subjects.db", tmp_path / "old.db")
    harness.start()
    erase(harness)
    harness.stop()
    shutil.copy(tmp_path / "old.db", harness.state / "subjects.db")
    assert files_with(harness.state, secret)
    harness.start()
    assert files_with(harness.state, secret, SUBJECT.encode()) == []
    assert refusal(harness.logs().OpenEntry, request) is Reason.ENTRY_ERASED
