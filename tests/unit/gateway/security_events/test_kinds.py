"""Which calls are security events."""

import re
from pathlib import Path

import pytest

from gateway.security_events import EventKind, SecurityEvent, event_of_call, tampering
from sealgate.reasons import Kind, Reason

INFER = "/inference.GRPCInferenceService/ModelInfer"


def event(outcome: str = "", verdict: str = "", injected: bool = False) -> SecurityEvent | None:
    peer = "ipv4:192.0.2.7:5000"
    return event_of_call(outcome, verdict, "client", INFER, "digits", "1", lambda: peer, injected)


@pytest.mark.parametrize(
    ("outcome", "verdict", "kind"),
    [
        ("TOKEN_SIGNATURE", "", EventKind.CREDENTIAL_REFUSED),
        ("API_KEY_REVOKED", "", EventKind.CREDENTIAL_REFUSED),
        ("ROLE_TOO_LOW", "", EventKind.RIGHT_REFUSED),
        ("RIGHT_MISSING", "", EventKind.RIGHT_REFUSED),
        ("SIGNATURE_INVALID", "", EventKind.RIGHT_REFUSED),
        ("RATE_EXCEEDED", "", EventKind.RATE_LIMITED),
        ("TOKENS_SPENT", "", EventKind.RATE_LIMITED),
        ("ADVERSARIAL_INPUT", "adversarial", EventKind.ADVERSARIAL_INPUT),
        ("STEP_UP", "suspect", EventKind.SUSPECT_INPUT),
        ("", "adversarial", EventKind.ADVERSARIAL_INPUT),
        ("", "suspect", EventKind.SUSPECT_INPUT),
        ("PROMPT_INJECTION", "suspect", EventKind.PROMPT_INJECTION),
        ("SESSION_BLOCKED", "clean", EventKind.SESSION_BLOCKED),
    ],
)
def test_a_call_is_an_event_by_its_reason_or_verdict(
    outcome: str, verdict: str, kind: EventKind
) -> None:
    found = event(outcome, verdict)
    assert found == SecurityEvent(
        kind, outcome, verdict, "client", INFER, "digits", "1", "192.0.2.7"
    )


def test_every_refused_credential_and_right_is_an_event() -> None:
    for reason in Reason:
        if reason.kind in (Kind.UNAUTHENTICATED, Kind.DENIED):
            assert event(reason.name) is not None, reason


@pytest.mark.parametrize("outcome", ["", "TENSOR_SHAPE", "QUEUE_FULL", "DEADLINE_TOO_SHORT"])
def test_ordinary_calls_are_none(outcome: str) -> None:
    assert event(outcome, "clean") is None


def test_a_prompt_that_is_only_flagged_is_an_event() -> None:
    found = event("", "suspect", injected=True)
    assert found is not None
    assert found.kind is EventKind.PROMPT_INJECTION


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[::1]:5000", "::1"),
        ("unix:/run/sealgate.sock", ""),
        ("", ""),
    ],
)
def test_the_address_is_the_callers_without_its_port(peer: str, address: str) -> None:
    found = event_of_call("TOKEN_EXPIRED", "", "", INFER, "", "", lambda: peer)
    assert found is not None
    assert found.address == address


def test_alteration_is_told_from_want_of_memory_or_time() -> None:
    altered = tampering(Reason.VERSION_ALTERED, "digits")
    assert altered is not None
    assert (altered.kind, altered.model) == (EventKind.VERSION_TAMPERED, "digits")
    log = tampering(Reason.LOG_INCONSISTENT)
    assert log is not None
    assert log.kind is EventKind.LOG_INCONSISTENT
    for reason in (Reason.OUT_OF_MEMORY, Reason.WORKER_LIMIT, Reason.REGISTRY_UNAVAILABLE):
        assert tampering(reason) is None


def test_the_guide_has_every_kind_with_its_severity_and_technique() -> None:
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "siem.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| .* \| (\w+) \| ([\w.]*) ?\|", page, re.MULTILINE)
    told = {}
    for kind in EventKind:
        technique = kind.technique
        told[kind.name] = (
            kind.severity.name.capitalize(),
            (technique.sub_uid or technique.uid) if technique else "",
        )
    assert {name: (severity, uid) for name, severity, uid in rows} == told
