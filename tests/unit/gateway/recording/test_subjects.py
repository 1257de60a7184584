"""Erasing a subject: the registry's log tells how much is closed, whatever breaks off."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from gateway.recording.recorder import AuditRecord, AuditRecorder
from gateway.recording.store import SubjectErasure, erase_subject
from gateway.services.registry_messages import once
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.log.rows import OPENINGS
from registry.state.schema import REQUESTS
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.v1.log_pb2 import EraseSubjectRequest
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, refused
from tests.support.harness.registry import RegistryHarness


class BreaksOff(SubjectKeys):
    """Keys whose database is away when the next one is destroyed, if `away`."""

    away = False

    def destroy(self, subject: str) -> None:
        if self.away:
            self.away = False
            raise SealgateError(Reason.RECORD_FAILED)
        super().destroy(subject)


class Desk:
    """A recorder, the registry that tells of its erasures, and an admin who erases."""

    def __init__(self, folder: Path) -> None:
        self.harness = RegistryHarness(folder, f"sqlite:///{folder}/registry.db").found()
        self.keys = BreaksOff(Database.open(folder / "subjects.db", "subjects"))
        self.log = AnswerLog.open(folder / "answers.db", ANSWER_LOG, key("answer-log"), self.keys)
        self.recorder = AuditRecorder(self.log, self.keys)

    def record(self, *subjects: str) -> None:
        for subject in subjects:
            values = {"policy_digest": "p", "outcome": "answered", "method": "m"}
            self.recorder.record(AuditRecord(subject, NOW, "carla", **values))

    def erase(self, subject: str = "patient-4711", request_id: str = "") -> SubjectErasure:
        erasures = self.harness.registry.erasures
        return erase_subject(erasures, self.recorder, "otto", ANSWER_LOG, subject, request_id)

    def told(self) -> list[tuple[int, int]]:
        """Of each erasure that the log tells of, how many entries it closed and of how many."""
        log = self.harness.registry.log
        entries = [json.loads(e) for block in log.entries(0, log.size()) for e in block]
        bodies = [e["body"] for e in entries if e["event"] == "subject.erased"]
        return [(body["entries"], body["size"]) for body in bodies]

    def balance(self) -> tuple[int, int]:
        """How many entries the log says were closed, and how many are."""
        return self.harness.registry.erasures.erased(ANSWER_LOG).entries, self.recorder.closed()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    with closing(desk.harness.registry), closing(desk.keys), closing(desk.log):
        yield desk


def test_a_repeated_request_finishes_what_the_first_began(desk: Desk) -> None:
    request_id = str(uuid.uuid4())
    desk.record(*["patient-4711"] * 3, "patient-4712")
    desk.keys.away = True
    with refused(Reason.RECORD_FAILED):
        desk.erase(request_id=request_id)
    told = desk.harness.registry.erasures.all()
    erased = desk.erase(request_id=request_id)
    assert erased.entries == 3
    assert is_pseudonym(erased.pseudonym, "patient-4711")
    assert desk.erase(request_id=request_id).pseudonym == erased.pseudonym
    assert desk.harness.registry.erasures.all() == told == [(ANSWER_LOG, erased.pseudonym)]
    with refused(Reason.REQUEST_ID_REUSED):
        desk.erase("patient-4712", request_id)
    with refused(Reason.PARAMETER_MALFORMED):
        desk.erase(request_id="1")
    # Without an id each is a request of its own.
    assert desk.erase().pseudonym != erased.pseudonym
    assert desk.told() == [(3, 4), (0, 4)]
    assert desk.balance() == (3, 3)


def test_entries_since_the_first_attempt_are_told_too(desk: Desk) -> None:
    request_id = str(uuid.uuid4())
    desk.record(*["patient-4711"] * 3)
    desk.keys.away = True
    with refused(Reason.RECORD_FAILED):
        desk.erase(request_id=request_id)
    desk.record(*["patient-4711"] * 2)
    assert desk.erase(request_id=request_id).entries == 5
    assert desk.told() == [(3, 3), (2, 5)]
    assert desk.balance() == (5, 5)


def test_entries_of_an_erasure_that_broke_off_are_counted_once(desk: Desk) -> None:
    """A repeated command has another request id."""
    desk.record(*["patient-4711"] * 3)
    desk.erase("patient-4712")
    desk.keys.away = True
    with refused(Reason.RECORD_FAILED):
        desk.erase()
    desk.record("patient-4711")
    assert desk.balance() == (3, 0)
    assert desk.erase().entries == 4
    assert desk.balance() == (4, 4)


def test_a_pruned_entry_that_was_closed_is_told_as_such(desk: Desk) -> None:
    desk.record(*["patient-4711"] * 3)
    desk.erase()
    assert desk.log.openings.closed_between(0, 2) == 2


def test_openings_that_somebody_deleted_are_not_told_as_erased(desk: Desk) -> None:
    desk.record("patient-4711", "patient-4711", "patient-4712")
    database = Database.open(desk.harness.folder / "answers.db", "answers")
    with closing(database), database.writing() as connection:
        connection.execute(delete(OPENINGS).where(OPENINGS.c.index == 0))
        connection.commit()
    assert desk.erase().entries == 1
    assert desk.balance() == (1, 2)


def test_the_name_is_not_guessed_fast_from_what_is_kept_of_the_request(desk: Desk) -> None:
    request_id = str(uuid.uuid4())
    request = EraseSubjectRequest(origin=ANSWER_LOG, subject="patient-4711", request_id=request_id)
    desk.erase(request_id=request_id)
    with desk.harness.database.reading() as connection:
        (kept,) = connection.execute(select(REQUESTS)).all()
    assert kept.request_id == request_id
    assert kept.digest != once(request).digest
