"""Facts about answer logs that the registry's log proves."""

from typing import Any

import pytest

from sealgate.audit.answer_logs import AnswerLogHistory, log_keys
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    key,
    make_policy,
    refused,
)

KEYS = log_keys([make_policy()], ANSWER_LOG)


def entry(event: str, body: Any, subject: str = f"logs/{ANSWER_LOG}") -> bytes:
    told = {"type": "sealgate/entry/v1", "event": event, "time": "2026-11-25T10:00:00Z"}
    return canonical.encode({**told, "principal": "gateway", "subject": subject, "body": body})


def anchor(size: int, name: str = "answer-log", stated: int | None = None) -> bytes:
    note = sign_checkpoint(Checkpoint(ANSWER_LOG, size, b"r" * 32), key(name))
    body = {"size": size if stated is None else stated, "checkpoint": note}
    return entry("answers.anchored", body)


def told(*leaves: bytes) -> AnswerLogHistory:
    found = AnswerLogHistory()
    for index, leaf in enumerate(leaves):
        found.visit(index, leaf)
    return found


def test_anchors_prunings_and_policies_are_collected() -> None:
    found = told(
        entry("policy.accepted", {"digest": "sha256:1", "envelope": ""}, "policies/1"),
        anchor(5),
        entry("log.pruned", {"size": 256}),
        entry("log.pruned", {"size": 512}),
        anchor(9),
        entry("model.created", {}, "models/digits"),
    )
    assert found.policies == ["sha256:1"]
    assert found.pruned == {ANSWER_LOG: 512}
    claims = [anchored.claim(KEYS) for anchored in found.anchors[ANSWER_LOG]]
    assert [(claim.size, claim.by) for claim in claims] == [
        (5, "the anchor in entry 1"),
        (9, "the anchor in entry 4"),
    ]


def test_an_anchor_by_another_key() -> None:
    (anchored,) = told(anchor(5, "other")).anchors[ANSWER_LOG]
    with refused(Reason.SIGNATURE_INVALID):
        anchored.claim(KEYS)


def test_an_anchor_that_states_another_size_than_its_entry() -> None:
    (anchored,) = told(anchor(5, stated=6)).anchors[ANSWER_LOG]
    with refused(Reason.LOG_INCONSISTENT):
        anchored.claim(KEYS)


@pytest.mark.parametrize("body", [{}, [], {"size": -1}, {"size": 5}, {"checkpoint": "x"}])
def test_an_anchor_that_cannot_be_read(body: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        told(entry("answers.anchored", body))


def test_a_log_that_no_policy_names() -> None:
    assert log_keys([make_policy()], REGISTRY_LOG)
    with refused(Reason.LOG_UNKNOWN):
        log_keys([make_policy()], "example.org/other")
