"""Promotion through the gateway: what each person may do, and what is refused with what."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Approval, Pointer, Proposal, types
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import now, question, refusal, rows


@pytest.fixture
def proposal(harness):
    return harness.propose("digits", 2)


def signed(harness, person, kind, statement):
    key = load_private_key(harness.profile(person).signing_key)
    return dsse.sign(kind, statement.encode(), key).encode()


def approval(harness, person, digest):
    return Approval(digest, person, "reviewed", format_time(now()))


def test_one_approval_is_too_few(harness, proposal):
    harness.governance("approver-1").approve(proposal.digest, "reviewed")
    reason = refusal(harness.governance("admin").promote, proposal.digest, "test")
    assert reason is Reason.APPROVALS_MISSING


def test_one_approver_twice(harness, proposal):
    approver = harness.governance("approver-1")
    approver.approve(proposal.digest, "reviewed")
    assert refusal(approver.approve, proposal.digest, "again") is Reason.APPROVAL_EXISTS


def test_the_publisher_cannot_approve(harness, proposal):
    """The publisher lacks the role, and its signature has none either when another sends it."""
    own = signed(
        harness, "publisher", types.APPROVAL, approval(harness, "publisher", proposal.digest)
    )
    request = messages.CreateApprovalRequest(envelope=own)
    create = harness.registry("publisher").CreateApproval
    assert refusal(create, request) is Reason.ROLE_TOO_LOW
    create = harness.registry("approver-1").CreateApproval
    assert refusal(create, request) is Reason.ROLE_TOO_LOW


def test_an_approval_in_anothers_name(harness, proposal):
    forged = approval(harness, "approver-2", proposal.digest)
    request = messages.CreateApprovalRequest(
        envelope=signed(harness, "approver-1", types.APPROVAL, forged)
    )
    assert refusal(harness.registry("approver-1").CreateApproval, request) is Reason.SIGNER_MISMATCH


def test_approval_of_what_nobody_proposed(harness):
    request = approval(harness, "approver-1", "sha256:" + "0" * 64)
    envelope = signed(harness, "approver-1", types.APPROVAL, request)
    call = harness.registry("approver-1").CreateApproval
    assert (
        refusal(call, messages.CreateApprovalRequest(envelope=envelope)) is Reason.PROPOSAL_UNKNOWN
    )


def test_promotion_of_what_nobody_approved(harness, proposal):
    reason = refusal(harness.governance("admin").promote, proposal.digest, "test")
    assert reason is Reason.APPROVALS_MISSING


def test_a_pointer_that_skips_a_sequence(harness):
    digest = harness.approved("digits", 2)
    message = harness.registry("admin").GetProposal(messages.GetProposalRequest(digest=digest))
    proposed = Proposal.decode(Envelope.decode(message.proposal.envelope).payload)
    pointer = Pointer(
        action="promote",
        model="digits",
        alias="production",
        version=2,
        digest=proposed.digest,
        sequence=proposed.predecessor + 5,
        proposal=digest,
        approvals=tuple(
            sorted(Envelope.decode(item).payload_digest for item in message.proposal.approvals)
        ),
        returns_to="",
        policy=proposed.policy,
        admin="admin",
        time=format_time(now()),
        reason="test",
    )
    promote = harness.registry("admin").Promote
    request = messages.PromoteRequest(envelope=signed(harness, "admin", types.POINTER, pointer))
    assert refusal(promote, request) is Reason.SEQUENCE_STALE
    other = replace(pointer, sequence=proposed.predecessor + 1, digest="sha256:" + "0" * 64)
    request = messages.PromoteRequest(envelope=signed(harness, "admin", types.POINTER, other))
    assert refusal(promote, request) is Reason.VERSION_UNKNOWN


def test_an_envelope_that_is_none(harness):
    request = messages.PromoteRequest(envelope=b"{}")
    assert refusal(harness.registry("admin").Promote, request) is Reason.DOCUMENT_MALFORMED


def test_a_rollback_to_what_was_never_live(harness):
    with pytest.raises(SealgateError) as caught:
        harness.governance("admin").rollback("digits", "production", 99, "test")
    assert caught.value.reason is Reason.ROLLBACK_TARGET


def test_names_that_are_not_resources(harness):
    registry = harness.registry("auditor")
    for name, reason in (
        ("", Reason.NAME_MALFORMED),
        ("models/digits", Reason.NAME_MALFORMED),
        ("models/../versions/1", Reason.NAME_MALFORMED),
        ("models/digits/versions/x", Reason.VERSION_MALFORMED),
    ):
        request = messages.GetVersionRequest(name=name)
        assert refusal(registry.GetVersion, request) is reason
    request = messages.GetVersionRequest(name="models/digits/versions/99")
    assert refusal(registry.GetVersion, request) is Reason.VERSION_UNKNOWN


def test_an_approver_sees_the_evidence_and_recomputes_the_digest(harness, proposal):
    hashed = []
    review = harness.governance("approver-1").review(proposal.digest, hashed.append)
    assert {item.kind for item in review.evidence} >= {
        "build-provenance",
        "format-scan",
        "golden-run",
        "mlbom",
        "screening-report",
        "watermark-check",
    }
    assert "model.int8.onnx" in hashed
    assert review.publisher == "publisher"


def test_the_evidence_says_which_share_of_rows_no_change_turns(harness, proposal):
    review = harness.governance("approver-1").review(proposal.digest, lambda _: None)
    (report,) = (item.body for item in review.evidence if item.kind == "screening-report")
    shares = report["certified"]
    assert [*shares] == ["0.01", "0.05", "0.1", "0.2"]
    assert shares["0.01"] > 0.5 > shares["0.2"]


def test_promotion_and_rollback_move_what_answers(harness):
    stub = harness.inference()
    harness.promote("digits", 2)
    assert stub.ModelInfer(question("digits", rows()), timeout=60).model_version == "2"
    harness.governance("admin").rollback("digits", "production", 1, "test")
    harness.await_version("digits", 1)
    assert stub.ModelInfer(question("digits", rows()), timeout=60).model_version == "1"
    history = harness.registry("auditor").ListPointers(
        messages.ListPointersRequest(name="models/digits/aliases/production")
    )
    assert [pointer.action for pointer in history.pointers][:2] == ["rollback", "promote"]
