"""OCSF's own schema accepts every event that there can be."""

import itertools

import pytest

from gateway.auth.method_rules import RULES
from gateway.security_events.kinds import EventKind, SecurityEvent
from gateway.security_events.ocsf import CountedEvent, ocsf
from tests.support.oracles.ocsf_schema import errors

INFER = "/inference.GRPCInferenceService/ModelInfer"


def written(event: SecurityEvent, count: int = 3) -> dict:
    return ocsf(CountedEvent(event, count, 1_700_000_000.25, 1_700_000_007.5), "0.2.0")


@pytest.mark.parametrize("kind", EventKind)
def test_the_schema_accepts_every_kind_with_and_without_each_field(kind: EventKind) -> None:
    fields = {
        "reason": ("", "ROLE_TOO_LOW"),
        "verdict": ("", "suspect"),
        "principal": ("", "client"),
        "method": ("", INFER),
        "model": ("", "digits"),
        "version": ("", "2"),
        "address": ("", "192.0.2.7", "2001:db8::1"),
    }
    for values in itertools.product(*fields.values()):
        event = SecurityEvent(kind, **dict(zip(fields, values, strict=True)))
        assert errors(written(event)) == [], event


def test_the_schema_accepts_every_method() -> None:
    activities = {}
    for method in RULES:
        event = written(SecurityEvent(EventKind.RIGHT_REFUSED, "ROLE_TOO_LOW", method=method))
        assert errors(event) == [], method
        activities[method.rpartition("/")[2]] = event["activity_name"]
    assert activities["ModelInfer"] == "Read"
    assert activities["CreateProposal"] == "Create"
    assert activities["Promote"] == "Update"
    assert activities["RevokeVersion"] == "Delete"


def test_a_schema_that_refuses_nothing_would_be_noticed() -> None:
    event = written(SecurityEvent(EventKind.ADVERSARIAL_INPUT))
    assert errors(event | {"severity_id": 42})
    assert errors(event | {"input": [1, 2]})
    assert errors({key: value for key, value in event.items() if key != "finding_info"})


def test_counts_and_times_are_those_of_the_group() -> None:
    event = written(SecurityEvent(EventKind.RATE_LIMITED, "RATE_EXCEEDED"), 7)
    assert event["count"] == 7
    assert event["start_time"] == 1_700_000_000_250
    assert event["end_time"] == 1_700_000_007_500


def test_adversarial_input_names_the_technique_of_atlas() -> None:
    event = written(SecurityEvent(EventKind.ADVERSARIAL_INPUT, "ADVERSARIAL_INPUT", "adversarial"))
    assert (event["class_uid"], event["activity_id"]) == (2004, 1)
    assert event["attacks"][0]["technique"]["uid"] == "AML.T0043"
    assert (event["disposition"], event["severity"]) == ("Blocked", "High")
    answered = written(SecurityEvent(EventKind.SUSPECT_INPUT, "", "suspect"))
    assert answered["disposition"] == "Allowed"
