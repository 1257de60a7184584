"""Evidence that comes after its version: whose it may be, about what, and how much of it."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from registry.models.evidence import LARGEST_ATTACHMENT, MOST_OF_ONE
from registry.state.records import VersionRecord
from registry.state.unit_of_work import RequestKey
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.statements import Evidence, sign_statement
from tests.support.builders.documents.people import VERSION_DIGEST, at, key, refused
from tests.support.harness.registry import RegistryHarness


def a_report(version: VersionRecord, maker: str = "anna", **changes: Any) -> bytes:
    report = Evidence(EvidenceRules.RED_TEAM, version.digest, maker, at(), {"attacks": {}})
    return sign_statement(replace(report, **changes), key(maker)).encode()


def attach(
    harness: RegistryHarness, envelope: bytes, who: str = "anna", version: int = 1
) -> VersionRecord:
    return harness.registry.attachments.attach(who, "digits", version, envelope)


def test_a_report_stands_beside_the_version_and_in_the_log(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    report = a_report(version)
    size = harness.registry.log.size()
    found = attach(harness, report)
    assert found.attached == (report,)
    # The version's name and the digest that proposals name are as before.
    assert replace(found, attached=()) == version
    (block,) = harness.registry.audit_trail.records(size, size + 1)
    (proven,) = block
    assert proven.documents == (report,)
    assert b'"evidence.attached"' in proven.leaf
    assert Envelope.decode(report).payload_digest.encode() in proven.leaf
    # The same once more is no second one, and what others attach comes after it.
    assert attach(harness, report).attached == (report,)
    other = a_report(version, "otto")
    assert attach(harness, other, "otto").attached == (report, other)
    assert harness.registry.log.size() == size + 2
    harness.release(version)
    harness.reopen().verify()


def test_a_list_gives_each_version_what_is_its_own(harness: RegistryHarness) -> None:
    one, two, three = (harness.publish(name) for name in ("one", "two", "three"))
    reports = (a_report(one), a_report(three), a_report(three, "otto"))
    attach(harness, reports[0])
    attach(harness, reports[1], version=3)
    attach(harness, reports[2], "otto", version=3)
    harness.revoke(two)
    listed = harness.registry.versions.list("digits").records
    assert listed == tuple(harness.registry.versions.get("digits", n) for n in (1, 2, 3))
    assert [version.attached for version in listed] == [reports[:1], (), reports[1:]]
    assert [version.evidence for version in listed] == [v.evidence for v in (one, two, three)]
    assert [version.revocation_reason for version in listed] == ["", "It leaks.", ""]
    bare = harness.registry.versions.list("digits", signed=False).records
    assert [version.revocation_reason for version in bare] == ["", "It leaks.", ""]
    assert {(version.evidence, version.attached, version.signature) for version in bare} == {
        ((), (), b"")
    }


def test_a_report_comes_before_and_after_approvals(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    proposal = harness.propose(version)
    attach(harness, a_report(version))
    harness.promote(harness.approve(proposal, "anna", "arne"))
    assert len(attach(harness, a_report(version, "arne"), "arne").attached) == 2


def test_a_request_that_is_repeated_attaches_once(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    report, size = a_report(version), harness.registry.log.size()
    once = RequestKey(str(uuid.uuid4()), sha256(report))
    take = harness.registry.attachments.attach
    assert take("anna", "digits", 1, report, once) == take("anna", "digits", 1, report, once)
    assert harness.registry.log.size() == size + 1
    with refused(Reason.REQUEST_ID_REUSED):
        take("anna", "digits", 1, report, RequestKey(once.request_id, sha256(b"another")))


@pytest.mark.parametrize(
    ("reason", "who", "maker", "changes"),
    [
        (Reason.SIGNER_MISMATCH, "arne", "anna", {}),
        (Reason.ROLE_TOO_LOW, "carla", "carla", {}),
        (Reason.ROLE_TOO_LOW, "robot", "robot", {}),
        (Reason.EVIDENCE_MISMATCH, "anna", "anna", {"version_digest": VERSION_DIGEST}),
        (Reason.EVIDENCE_MISMATCH, "anna", "anna", {"kind": "screening-report"}),
        (Reason.FILE_TOO_LARGE, "anna", "anna", {"body": {"text": "x" * LARGEST_ATTACHMENT}}),
    ],
)
def test_what_is_not_theirs_or_not_about_it_is_refused(
    harness: RegistryHarness, reason: Reason, who: str, maker: str, changes: dict[str, Any]
) -> None:
    version = harness.publish("one")
    size = harness.registry.log.size()
    with refused(reason):
        attach(harness, a_report(version, maker, **changes), who)
    assert harness.registry.log.size() == size
    assert harness.registry.versions.get("digits", 1).attached == ()


def test_a_signature_of_another_is_refused(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    report = Evidence(EvidenceRules.RED_TEAM, version.digest, "anna", at(), {})
    with refused(Reason.SIGNER_MISMATCH):
        attach(harness, sign_statement(report, key("arne")).encode())
    with refused(Reason.DOCUMENT_MALFORMED):
        attach(harness, b"{}")


def test_a_version_that_there_is_not_or_that_is_revoked(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    with refused(Reason.VERSION_UNKNOWN):
        attach(harness, a_report(version), version=2)
    harness.revoke(version)
    with refused(Reason.VERSION_REVOKED):
        attach(harness, a_report(version))


def test_one_person_does_not_take_anothers_place(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    reports = [a_report(version, body={"n": n}) for n in range(MOST_OF_ONE + 1)]
    for report in reports[:-1]:
        attach(harness, report)
    with refused(Reason.EVIDENCE_TOO_MUCH):
        attach(harness, reports[-1])
    # A report that is attached already is still answered as before.
    assert len(attach(harness, reports[0]).attached) == MOST_OF_ONE
    assert len(attach(harness, a_report(version, "arne"), "arne").attached) == MOST_OF_ONE + 1


def test_one_person_does_not_fill_the_version(harness: RegistryHarness) -> None:
    """Attachments come with the version in one message."""
    version = harness.publish("one")
    # An envelope holds its payload in base64.
    body = "x" * (LARGEST_ATTACHMENT * 3 // 4 - 1000)
    reports = [a_report(version, body={"n": n, "text": body}) for n in range(3)]
    for report in reports[:2]:
        attach(harness, report)
    with refused(Reason.EVIDENCE_TOO_MUCH):
        attach(harness, reports[2])
    assert len(attach(harness, a_report(version, "arne"), "arne").attached) == 3
