"""A policy's rules for answers, as they are written and read."""

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy.answers import AnswerClassifierRules, AnswerRules
from tests.support.builders.documents.people import refused


def said(**changes: str) -> dict[str, str]:
    """A classifier as a policy names it."""
    return {"version": "sha256:" + "0" * 64, "label": "unsafe", "action": "cut"} | changes


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 0, "secrets": "mask"}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 513, "secrets": "mask"}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "secrets": "hide"}, Reason.POLICY_INVALID),
        ({"hold_tokens": 48, "faces": "mask"}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "canary": "block"}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "canaries": ["sha256:" + "0" * 64]}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "classifier": None}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "classifier": {"version": "1"}}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "classifier": said(label="")}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "classifier": said(version="sha256:0")}, Reason.DOCUMENT_MALFORMED),
        ({"hold_tokens": 48, "classifier": said(action="mask")}, Reason.POLICY_INVALID),
    ],
)
def test_rules_of_another_form_are_refused(value: object, reason: Reason) -> None:
    with refused(reason):
        AnswerRules.from_json(value)


def test_rules_are_read_as_they_were_written() -> None:
    rules = AnswerRules({"secrets": "mask", "canary": "cut"}, 16, ("sha256:" + "0" * 64,))
    assert AnswerRules.from_json(rules.to_json()) == rules
    read = AnswerClassifierRules("sha256:" + "0" * 64, "unsafe", "flag")
    rules = AnswerRules({}, 16, classifier=read)
    assert AnswerRules.from_json(rules.to_json()) == rules
