"""An entry that cannot be opened says whether it was erased, or is closed for no reason told."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete

from gateway.recording.recorder import AuditRecord, AuditRecorder
from gateway.recording.store import OwnAnswers
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SUBJECT_KEYS, SubjectKeys
from registry.log.rows import OPENINGS
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, refused
from tests.support.harness.registry import RegistryHarness


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[OwnAnswers]:
    """Four entries: two about patient-1, and one each about patient-2 and patient-3."""
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    keys = SubjectKeys.open(tmp_path / "subjects.db")
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), keys)
    with closing(harness.registry), closing(keys), closing(log):
        recorder = AuditRecorder(log, keys)
        for subject in ("patient-1", "patient-2", "patient-1", "patient-3"):
            values = {"method": "m", "policy_digest": "p", "outcome": "answered"}
            recorder.record(AuditRecord(subject, NOW, "carla", **values))
        yield OwnAnswers(ANSWER_LOG, recorder, harness.registry.erasures)


def erase(answers: OwnAnswers, subject: str) -> None:
    answers.erase("otto", ANSWER_LOG, subject, "")


def delete_opening(folder: Path, index: int) -> None:
    database = Database.open(folder / "answers.db", "answers")
    with closing(database), database.writing() as connection:
        connection.execute(delete(OPENINGS).where(OPENINGS.c.index == index))
        connection.commit()


def test_an_erased_entry_says_so(answers: OwnAnswers) -> None:
    erase(answers, "patient-1")
    for index in (0, 2):
        with refused(Reason.ENTRY_ERASED):
            answers.open(ANSWER_LOG, index)
    assert answers.open(ANSWER_LOG, 1).proof.index == 1
    with refused(Reason.ENTRY_UNKNOWN):
        answers.open(ANSWER_LOG, 4)


def test_a_deleted_opening_is_not_called_erased(answers: OwnAnswers, tmp_path: Path) -> None:
    delete_opening(tmp_path, 1)
    with refused(Reason.OPENING_MISSING):
        answers.open(ANSWER_LOG, 1)
    # Nor does an erasure of somebody else explain it: more is closed than it closed.
    erase(answers, "patient-1")
    with refused(Reason.OPENING_MISSING):
        answers.open(ANSWER_LOG, 1)


def test_a_lost_key_is_not_called_an_erasure(answers: OwnAnswers, tmp_path: Path) -> None:
    database = Database.open(tmp_path / "subjects.db", "subjects")
    with closing(database), database.writing() as connection:
        connection.execute(delete(SUBJECT_KEYS).where(SUBJECT_KEYS.c.subject == "patient-2"))
        connection.commit()
    with refused(Reason.OPENING_MISSING):
        answers.open(ANSWER_LOG, 1)
    erase(answers, "patient-1")
    with refused(Reason.OPENING_MISSING):
        answers.open(ANSWER_LOG, 1)
