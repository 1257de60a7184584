"""The recorder of answers: entries of both formats are opened, and edited openings are not."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.recorder import Outcome, Recorder
from registry.log.answer_log import Answer, AnswerLog, Opening
from sealgate.reasons import Reason
from sealgate.trust import answer
from sealgate.trust.answer import FIELDS, V1_FIELDS
from sealgate.trust.receipt import verify_receipt
from tests.support.people import ANSWER_LOG, NOW, key, make_policy, refused
from tests.support.vectors import V1_VALUES

SUBJECT, NONCE = "carla", bytes(16)


class OneKey:
    """The key of everybody."""

    def key(self, subject: str) -> bytes:
        return b"k" * 32

    def known_key(self, subject: str) -> bytes:
        return b"k" * 32

    def destroy(self, subject: str) -> None:
        raise AssertionError("nobody is erased here")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "answers.db"


@pytest.fixture
def log(place: Path) -> Iterator[AnswerLog]:
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"))
    yield log
    log.close()


@pytest.fixture
def recorder(log: AnswerLog) -> Iterator[Recorder]:
    recorder = Recorder(log, OneKey())
    yield recorder
    assert recorder.close(10)


def outcome() -> Outcome:
    return Outcome(
        subject=SUBJECT,
        time=NOW,
        principal="carla",
        method="/inference.GRPCInferenceService/ModelInfer",
        policy_digest="sha256:" + "2" * 64,
        outcome="answered",
        alias="production",
        parameters="sha256:" + "5" * 64,
        request_id="claim-17",
        screening=answer.FULL,
        arithmetic=answer.INT8,
        actions=answer.LABELS,
    )


def test_a_new_entry_is_of_v2_and_opens_all_but_the_score(recorder: Recorder) -> None:
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


def test_an_entry_of_v1_is_opened_beside_one_of_v2(log: AnswerLog, recorder: Recorder) -> None:
    salts = answer.salts(b"k" * 32, NONCE, len(V1_VALUES))
    log.append([Answer(answer.leaf(V1_VALUES, salts), Opening(V1_VALUES, NONCE, SUBJECT))])
    recorder.record(outcome())
    opened = [receipt for found in recorder.search(0, 2, []) for receipt in found.receipts]
    assert [receipt.names for receipt in opened] == [V1_FIELDS, FIELDS]
    older, newer = (verify_receipt(receipt, make_policy()).fields for receipt in opened)
    assert tuple(older.values()) == V1_VALUES
    assert newer["request_id"] == "claim-17"


def test_an_opening_with_the_fields_of_another_format_opens_nothing(
    place: Path, recorder: Recorder
) -> None:
    recorder.record(outcome())
    edited = sqlite3.connect(place)
    edited.execute("UPDATE log_openings SET fields = ?", [json.dumps(V1_VALUES)])
    edited.commit()
    edited.close()
    (found,) = recorder.search(0, 1, [])
    assert (found.receipts, found.unopened) == ((), (0,))
    with refused(Reason.LOG_INCONSISTENT):
        recorder.open(0)
