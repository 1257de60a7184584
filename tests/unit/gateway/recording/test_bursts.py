"""A burst of records: one trip, in order, and each record with its own receipt or refusal."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.recording.burst import PreparedRecord, Recorded, RecordedAnswer, RecordTemplate
from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.subject_keys import SubjectKeys
from registry.log.rows import Appended
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.times import format_micros
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, make_policy, refused


class Failing(SubjectKeys):
    """Keys whose database is away for one subject."""

    away = ""

    def key(self, subject: str) -> bytes:
        if subject == self.away:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "gone")
        return super().key(subject)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Failing]:
    with closing(Failing.open(tmp_path / "subjects.db")) as keys:
        assert isinstance(keys, Failing)
        yield keys


@pytest.fixture
def log(tmp_path: Path, keys: Failing) -> Iterator[AnswerLog]:
    with closing(
        AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), keys)
    ) as log:
        yield log


@pytest.fixture
def recorder(log: AnswerLog, keys: Failing) -> AuditRecorder:
    return AuditRecorder(log, keys)


def records(count: int, subject: str = "carla") -> list[AuditRecord]:
    values = {"method": "m", "policy_digest": "p", "outcome": "answered"}
    return [AuditRecord(subject, NOW, "carla", request_id=str(n), **values) for n in range(count)]


def answers(recorded: Sequence[Recorded]) -> list[RecordedAnswer]:
    assert all(isinstance(each, RecordedAnswer) for each in recorded), recorded
    return [each for each in recorded if isinstance(each, RecordedAnswer)]


def reasons(recorded: Sequence[Recorded]) -> list[str]:
    return [each.reason.name if isinstance(each, SealgateError) else "" for each in recorded]


def request_ids(recorded: Sequence[Recorded]) -> list[str]:
    decoded = [Receipt.decode(each.receipt()) for each in answers(recorded)]
    return [verify_receipt(receipt, make_policy()).fields["request_id"] for receipt in decoded]


@pytest.mark.parametrize("count", [0, 1, 2, 64, 257, 600])
def test_entries_are_in_the_order_of_the_records(recorder: AuditRecorder, count: int) -> None:
    recorder.record(records(1)[0])
    recorded = answers(recorder.record_burst(records(count)))
    assert [each.index for each in recorded] == list(range(1, count + 1))
    assert request_ids(recorded) == [str(n) for n in range(count)]
    assert recorder.size == count + 1
    # Groups of at most 256 entries: each is one commit.
    assert recorder.commits.count == 1 + -(-count // 256)


def test_a_receipt_of_a_burst_is_the_same_as_a_single_one(recorder: AuditRecorder) -> None:
    awkward = [record for text in ('"\\', "é€\u2028", "\x00\n\x7f") for record in records(1, text)]
    for each in answers(recorder.record_burst([*records(5), *awkward])):
        whole = each.whole()
        assert each.receipt() == whole.encode()
        assert recorder.open(each.index).commitments == whole.commitments


def test_a_template_fills_in_the_same_values_as_a_whole_record() -> None:
    shared = {
        "principal": "carla",
        "method": "m",
        "policy_digest": "p",
        "model": "digits",
        "version": "3",
        "version_digest": "sha256:1",
        "pointer_sequence": "7",
        "threshold": "0.5",
        "engine": "here",
        "alias": "canary",
        "screening": "full",
        "arithmetic": "int8",
    }
    own = {
        "input": "sha256:2",
        "output": "sha256:3",
        "outcome": "answered",
        "verdict": "clean",
        "score": "0.1",
        "parameters": "sha256:4",
        "request_id": "claim-17",
        "actions": "canary",
    }
    filled = RecordTemplate(subject="s", **shared).fill(format_micros(NOW), **own)
    whole = AuditRecord(subject="s", time=NOW, **shared, **own)
    assert filled == PreparedRecord("s", whole.values())
    assert filled.values() == whole.values()


def test_one_record_that_cannot_be_made_does_not_fail_the_others(
    recorder: AuditRecorder, keys: Failing
) -> None:
    keys.away = "away"
    half_a_character = PreparedRecord("carla", ("\ud800",) * 21)
    too_few = PreparedRecord("carla", ("",) * 20)
    burst = [*records(2), *records(1, "away"), half_a_character, too_few, *records(1)]
    recorded = recorder.record_burst(burst)
    assert reasons(recorded) == ["", "", "RECORD_FAILED", "INTERNAL", "INTERNAL", ""]
    kept = [each for each in recorded if isinstance(each, RecordedAnswer)]
    assert [each.index for each in kept] == [0, 1, 2]
    assert request_ids(kept) == ["0", "1", "0"]
    # They are still committed together.
    assert recorder.commits.count == 1


def test_a_subject_that_is_erased_holds_up_its_own_records_alone(
    recorder: AuditRecorder, log: AnswerLog
) -> None:
    """Its records are written after the erasure, under another key, and can be opened."""
    recorder.record_burst([*records(3, "patient"), *records(2, "other")])
    told, recorded = threading.Event(), list[Recorded]()
    burst = [*records(1, "patient"), *records(2, "other")]

    def record() -> None:
        told.wait()
        recorded.extend(recorder.record_burst(burst))

    writer = threading.Thread(target=record)
    writer.start()

    def tell(_: object) -> None:
        told.set()
        # The others' records are written meanwhile.
        while log.size < 7:
            threading.Event().wait(0.001)

    assert recorder.erase("patient", tell) == 3
    writer.join()
    assert [each.index for each in answers(recorded)] == [7, 5, 6]
    assert recorder.open(7).opened["request_id"][1] == "0"
    assert recorder.closed() == 3


class OutOfSpace(AnswerLog):
    """A log whose disk is full after `left` groups."""

    left = 1

    def append(self, answers: Sequence[LoggedAnswer]) -> Appended:
        self.left -= 1
        if self.left < 0:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "disk full")
        return super().append(answers)


def test_an_append_that_fails_fails_all_behind_it(
    log: AnswerLog, recorder: AuditRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "__class__", OutOfSpace)
    recorded = recorder.record_burst(records(600))
    assert reasons(recorded) == [""] * 256 + ["RECORD_FAILED"] * 344
    failures = [each for each in recorded if isinstance(each, SealgateError)]
    assert len(set(map(id, failures))) == 344
    assert not recorder.fenced.is_set()


def test_another_writer_fences_this_one_off(
    recorder: AuditRecorder, tmp_path: Path, keys: Failing
) -> None:
    with closing(AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), keys)):
        assert reasons(recorder.record_burst(records(2))) == ["LOG_FENCED"] * 2
    assert recorder.fenced.is_set()
    with refused(Reason.LOG_FENCED):
        recorder.record(records(1)[0])


def test_nothing_is_recorded_after_the_end(recorder: AuditRecorder) -> None:
    assert recorder.close(1)
    assert reasons(recorder.record_burst(records(2))) == ["DRAINING"] * 2
    assert recorder.size == 0


def test_bursts_of_several_threads_share_the_log(recorder: AuditRecorder) -> None:
    found = list[list[RecordedAnswer]]()

    def record() -> None:
        found.extend([answers(recorder.record_burst(records(n))) for n in (1, 100, 256, 3)])

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    indices = [each.index for burst in found for each in burst]
    assert sorted(indices) == list(range(4 * 360)) == list(range(recorder.size))
    for burst in found:
        assert request_ids(burst) == [str(n) for n in range(len(burst))]
