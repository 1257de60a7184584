"""An erasure under load closes every entry before it, and no record slips through beside it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.recording.erasure import Erasure, ErasureBarrier
from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts import verify_receipt
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, make_policy, refused

pytestmark = pytest.mark.slow

WRITERS = 4
ERASURES = 200


class Interrupted(SubjectKeys):
    """Keys that do something else once, after the next key is taken and before it is used."""

    then: Callable[[], None] | None = None

    def key(self, subject: str) -> bytes:
        found = super().key(subject)
        then, self.then = self.then, None
        if then is not None:
            then()
        return found


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Interrupted]:
    with closing(Interrupted(Database.open(tmp_path / "subjects.db", "subjects"))) as keys:
        yield keys


@pytest.fixture
def log(tmp_path: Path, keys: Interrupted) -> Iterator[AnswerLog]:
    with closing(
        AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), keys)
    ) as log:
        yield log


@pytest.fixture
def recorder(log: AnswerLog, keys: Interrupted) -> AuditRecorder:
    return AuditRecorder(log, keys)


def outcome(subject: str) -> AuditRecord:
    return AuditRecord(subject, NOW, "carla", method="m", policy_digest="p", outcome="answered")


def test_an_erasure_waits_for_a_record_that_has_its_key(
    recorder: AuditRecorder, keys: Interrupted, log: AnswerLog
) -> None:
    told, removed = threading.Event(), []
    erasing = threading.Thread(
        target=lambda: removed.append(recorder.erase("patient", lambda erasure: told.set()))
    )

    def erase_meanwhile() -> None:
        erasing.start()
        # It must not come as far as that before this record is written.
        assert not told.wait(0.2)

    keys.then = erase_meanwhile
    recorder.record(outcome("patient"))
    erasing.join()
    assert removed == [1]
    assert log.openings.about("patient", 0, log.size) == []


def test_an_erasure_that_waits_in_vain_is_refused_and_lets_go() -> None:
    barrier = ErasureBarrier(patience=0.01)
    with barrier.recording("patient"):
        with refused(Reason.RECORD_FAILED), barrier.erasing("patient"):
            pytest.fail("a record is in progress")
        with barrier.recording("patient"), barrier.erasing("somebody"):
            pass
    with barrier.erasing("patient"):
        with refused(Reason.RECORD_FAILED), barrier.recording("patient"):
            pytest.fail("an erasure is in progress")
        with barrier.recording("somebody"):
            pass
    with barrier.erasing("patient"):
        pass


def test_two_hundred_erasures_under_load(
    recorder: AuditRecorder, keys: Interrupted, log: AnswerLog
) -> None:
    stop, counted, removed = threading.Event(), list[int](), list[int]()

    def write(subject: str) -> None:
        while not stop.is_set():
            recorder.record(outcome(subject))

    def tell(erasure: Erasure) -> None:
        counted.append(erasure.closing().entries)

    writers = [threading.Thread(target=write, args=(f"patient-{n % 2}",)) for n in range(WRITERS)]
    with ExitStack() as stack:
        stack.callback(lambda: [writer.join() for writer in writers])
        stack.callback(stop.set)
        for writer in writers:
            writer.start()
        for _ in range(ERASURES):
            before = log.size
            removed.append(recorder.erase("patient-0", tell))
            assert log.openings.about("patient-0", 0, before) == []
    assert counted == removed
    assert recorder.closed() == sum(removed)
    # The subject's remaining entries were recorded after the last erasure and can be opened.
    left = log.openings.about("patient-0", 0, log.size)
    for index in left:
        verify_receipt(recorder.open(index), make_policy())
    others = log.openings.about("patient-1", 0, log.size)
    assert len(others) + sum(removed) + len(left) == log.size
