"""The recorder of answers: entries of both formats are opened, and edited openings are not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, make_policy, refused
from tests.support.builders.documents.vectors import V1_VALUES
from tests.support.fakes.records import SUBJECTS, an_answer, opening

SUBJECT, NONCE = "carla", bytes(16)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AnswerLog]:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    yield log
    log.close()


@pytest.fixture
def recorder(log: AnswerLog) -> Iterator[AuditRecorder]:
    recorder = AuditRecorder(log, SUBJECTS)
    yield recorder
    assert recorder.close(10)


def outcome() -> AuditRecord:
    return AuditRecord(
        subject=SUBJECT,
        time=NOW,
        principal="carla",
        method="/inference.GRPCInferenceService/ModelInfer",
        policy_digest="sha256:" + "2" * 64,
        outcome="answered",
        alias="production",
        parameters="sha256:" + "5" * 64,
        request_id="claim-17",
        screening=answer_entry.FULL,
        arithmetic=answer_entry.INT8,
        actions=answer_entry.LABELS,
    )


def test_a_new_entry_is_of_v2_and_opens_all_but_the_score(recorder: AuditRecorder) -> None:
    fields = verify_receipt(recorder.record(outcome()), make_policy()).fields
    assert fields.keys() == set(FIELDS) - {"score", "threshold"}
    told = {name: fields[name] for name in FIELDS[len(V1_FIELDS) :]}
    assert told == {
        "alias": "production",
        "parameters": "sha256:" + "5" * 64,
        "request_id": "claim-17",
        "screening": "full",
        "arithmetic": "int8",
        "actions": "label-only",
    }
    assert recorder.open(0).names == FIELDS


def test_an_entry_of_v1_is_opened_beside_one_of_v2(log: AnswerLog, recorder: AuditRecorder) -> None:
    opened = opening(V1_VALUES, NONCE, SUBJECT)
    salts = answer_entry.salts(opened.key, NONCE, len(V1_VALUES))
    log.append([LoggedAnswer(answer_entry.leaf(V1_VALUES, salts), opened)])
    recorder.record(outcome())
    receipts = [receipt for found in recorder.search(0, 2, []) for receipt in found.receipts]
    assert [receipt.names for receipt in receipts] == [V1_FIELDS, FIELDS]
    older, newer = (verify_receipt(receipt, make_policy()).fields for receipt in receipts)
    assert tuple(older.values()) == V1_VALUES
    assert newer["request_id"] == "claim-17"


def test_an_opening_with_the_fields_of_another_format_opens_nothing(
    log: AnswerLog, recorder: AuditRecorder
) -> None:
    log.append([LoggedAnswer(an_answer().leaf, opening(V1_VALUES, NONCE, SUBJECT))])
    (found,) = recorder.search(0, 1, [])
    assert (found.receipts, found.unopened) == ((), (0,))
    with refused(Reason.LOG_INCONSISTENT):
        recorder.open(0)
