"""Kinds of security events: the calls and findings that are such, and how grave they are.

Techniques and tactics are those of MITRE ATLAS 5.6 (https://atlas.mitre.org).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from sealgate.reasons import Kind, Reason


class Severity(Enum):
    """OCSF's `severity_id`, by its caption."""

    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Technique(NamedTuple):
    """A technique of MITRE ATLAS, with the tactic that it serves here."""

    uid: str
    name: str
    tactic_uid: str
    tactic: str
    sub_uid: str = ""
    sub: str = ""


_STAGING = ("AML.TA0001", "AI Attack Staging")
_CRAFTED = Technique("AML.T0043", "Craft Adversarial Data", *_STAGING)
_SEARCHED = _CRAFTED._replace(sub_uid="AML.T0043.001", sub="Black-Box Optimization")
_EXTRACTED = Technique(
    "AML.T0024",
    "Exfiltration via AI Inference API",
    "AML.TA0010",
    "Exfiltration",
    "AML.T0024.002",
    "Extract AI Model",
)
_INJECTED = Technique("AML.T0051", "LLM Prompt Injection", "AML.TA0005", "Execution")
_LEAKED = Technique("AML.T0057", "LLM Data Leakage", "AML.TA0010", "Exfiltration")
_TAMPERED = Technique("AML.T0018", "Manipulate AI Model", "AML.TA0006", "Persistence")
_DENIED_SERVICE = Technique("AML.T0029", "Denial of AI Service", "AML.TA0011", "Impact")


class EventKind(Enum):
    """The kinds: title, severity, and the ATLAS technique that it is a sign of, if any."""

    CREDENTIAL_REFUSED = ("Credential refused", Severity.LOW, None)
    RIGHT_REFUSED = ("Call refused for lack of a right", Severity.MEDIUM, None)
    RATE_LIMITED = ("Call refused by a quota", Severity.LOW, _DENIED_SERVICE)
    SUSPECT_INPUT = ("Suspect input", Severity.MEDIUM, _CRAFTED)
    ADVERSARIAL_INPUT = ("Adversarial input", Severity.HIGH, _CRAFTED)
    PROMPT_INJECTION = ("Prompt injection", Severity.HIGH, _INJECTED)
    SENSITIVE_ANSWER = ("Answer with secrets or personal data", Severity.MEDIUM, _LEAKED)
    SESSION_SEARCH = ("Search for an adversarial input", Severity.HIGH, _SEARCHED)
    SESSION_EXTRACTION = ("Extraction of a model", Severity.HIGH, _EXTRACTED)
    SESSION_BLOCKED = ("Call of a blocked session", Severity.MEDIUM, _SEARCHED)
    VERSION_TAMPERED = ("Version or pointer altered", Severity.CRITICAL, _TAMPERED)
    LOG_INCONSISTENT = ("Log altered", Severity.CRITICAL, None)

    def __init__(self, title: str, severity: Severity, technique: Technique | None) -> None:
        self.title = title
        self.severity = severity
        self.technique = technique


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """The event, in words of the gateway's own, apart from names of the policy. Events that are
    equal are told together. `address` is the caller's IP address.
    """

    kind: EventKind
    reason: str = ""
    verdict: str = ""
    principal: str = ""
    method: str = ""
    model: str = ""
    version: str = ""
    address: str = ""

    def without_origin(self) -> "SecurityEvent":
        """The same of whomever, for when there are too many origins to count each."""
        return replace(self, principal="", method="", model="", version="", address="")


_QUOTAS = frozenset(
    {
        Reason.RATE_EXCEEDED,
        Reason.CONCURRENCY_EXCEEDED,
        Reason.QUOTA_SPENT,
        Reason.TOKENS_SPENT,
        Reason.UPLOADS_TOO_MANY,
    }
)
_OF_REASON = {
    Reason.ADVERSARIAL_INPUT: EventKind.ADVERSARIAL_INPUT,
    Reason.PROMPT_INJECTION: EventKind.PROMPT_INJECTION,
    Reason.SESSION_BLOCKED: EventKind.SESSION_BLOCKED,
    # Signed by nobody whose signature counts here.
    Reason.SIGNATURE_INVALID: EventKind.RIGHT_REFUSED,
    Reason.THRESHOLD_NOT_MET: EventKind.RIGHT_REFUSED,
    Reason.LOG_INCONSISTENT: EventKind.LOG_INCONSISTENT,
} | dict.fromkeys(_QUOTAS, EventKind.RATE_LIMITED)
_OF_VERDICT = {
    "suspect": EventKind.SUSPECT_INPUT,
    "adversarial": EventKind.ADVERSARIAL_INPUT,
}
# The engine's findings in stored bytes, documents and pointers that were sound when they came.
_TAMPERING = frozenset(
    {
        Reason.VERSION_ALTERED,
        Reason.DIGEST_MISMATCH,
        Reason.SIGNATURE_INVALID,
        Reason.THRESHOLD_NOT_MET,
        Reason.DOCUMENT_MALFORMED,
        Reason.PROOF_INVALID,
        Reason.POINTER_INVALID,
        Reason.GOLDEN_MISMATCH,
        Reason.DERIVATION_MISMATCH,
        Reason.POLICY_INVALID,
        Reason.POLICY_ROLLED_BACK,
    }
)


def event_of_call(
    outcome: str,
    verdict: str,
    principal: str,
    method: str,
    model: str,
    version: str,
    peer: Callable[[], str],
    injected: bool = False,
    leaked: bool = False,
) -> SecurityEvent | None:
    """The event that a call is, ended with a reason's name or none; None for an ordinary call.

    `peer` says where the caller is, as gRPC does, and is asked of an event alone. `injected` says
    whether the prompt was taken for an injection, `leaked` whether the answer held what the policy
    looks for.
    """
    kind = _kind_of_call(outcome, verdict, injected, leaked)
    if kind is None:
        return None
    address = _address(peer())
    return SecurityEvent(kind, outcome, verdict, principal, method, model, version, address)


def tampering(reason: Reason, model: str = "") -> SecurityEvent | None:
    """The event that something stored is refused for the reason; None where that is no sign of
    alteration.
    """
    if reason is Reason.LOG_INCONSISTENT:
        return SecurityEvent(EventKind.LOG_INCONSISTENT, reason.name, model=model)
    if reason in _TAMPERING:
        return SecurityEvent(EventKind.VERSION_TAMPERED, reason.name, model=model)
    return None


def _kind_of_call(outcome: str, verdict: str, injected: bool, leaked: bool) -> EventKind | None:
    if injected:
        return EventKind.PROMPT_INJECTION
    if leaked:
        return EventKind.SENSITIVE_ANSWER
    if outcome:
        reason = Reason[outcome]
        if (kind := _OF_REASON.get(reason)) is not None:
            return kind
        if reason.kind is Kind.UNAUTHENTICATED:
            return EventKind.CREDENTIAL_REFUSED
        if reason.kind is Kind.DENIED:
            return EventKind.RIGHT_REFUSED
    return _OF_VERDICT.get(verdict)


def _address(peer: str) -> str:
    """The IP address in `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`; empty for a socket."""
    family, _, place = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return ""
    host = place.rpartition(":")[0]
    return host.removeprefix("%5B").removesuffix("%5D").strip("[]")
