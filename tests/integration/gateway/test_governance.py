"""Promotion through the front door: what each person may do, and what is refused with what."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason, Refusal
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Approval, Pointer, Proposal, types
from sealgate.trust.times import format_time
from sealgate.v1 import registry_pb2 as messages
from tests.support.house import now, question, refusal, rows


@pytest.fixture
def proposal(house):
    return house.propose("digits", 2)


def signed(house, person, kind, statement):
    key = load_private_key(house.profile(person).signing_key)
    return dsse.sign(kind, statement.encode(), key).encode()


def approval(house, person, digest):
    return Approval(digest, person, "reviewed", format_time(now()))


def test_one_approval_is_too_few(house, proposal):
    house.governance("approver-1").approve(proposal.digest, "reviewed")
    reason = refusal(house.governance("admin").promote, proposal.digest, "test")
    assert reason is Reason.APPROVALS_MISSING


def test_one_approver_twice(house, proposal):
    approver = house.governance("approver-1")
    approver.approve(proposal.digest, "reviewed")
    assert refusal(approver.approve, proposal.digest, "again") is Reason.APPROVAL_EXISTS


def test_the_publisher_cannot_approve(house, proposal):
    """The publisher lacks the role, and its signature has none either when another sends it."""
    own = signed(house, "publisher", types.APPROVAL, approval(house, "publisher", proposal.digest))
    request = messages.CreateApprovalRequest(envelope=own)
    create = house.registry("publisher").CreateApproval
    assert refusal(create, request) is Reason.ROLE_TOO_LOW
    create = house.registry("approver-1").CreateApproval
    assert refusal(create, request) is Reason.ROLE_TOO_LOW


def test_an_approval_in_anothers_name(house, proposal):
    forged = approval(house, "approver-2", proposal.digest)
    request = messages.CreateApprovalRequest(
        envelope=signed(house, "approver-1", types.APPROVAL, forged)
    )
    assert refusal(house.registry("approver-1").CreateApproval, request) is Reason.SIGNER_MISMATCH


def test_approval_of_what_nobody_proposed(house):
    request = approval(house, "approver-1", "sha256:" + "0" * 64)
    envelope = signed(house, "approver-1", types.APPROVAL, request)
    call = house.registry("approver-1").CreateApproval
    assert (
        refusal(call, messages.CreateApprovalRequest(envelope=envelope)) is Reason.PROPOSAL_UNKNOWN
    )


def test_promotion_of_what_nobody_approved(house, proposal):
    reason = refusal(house.governance("admin").promote, proposal.digest, "test")
    assert reason is Reason.APPROVALS_MISSING


def test_a_pointer_that_skips_a_sequence(house):
    digest = house.approved("digits", 2)
    message = house.registry("admin").GetProposal(messages.GetProposalRequest(digest=digest))
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
    promote = house.registry("admin").Promote
    request = messages.PromoteRequest(envelope=signed(house, "admin", types.POINTER, pointer))
    assert refusal(promote, request) is Reason.SEQUENCE_STALE
    other = replace(pointer, sequence=proposed.predecessor + 1, digest="sha256:" + "0" * 64)
    request = messages.PromoteRequest(envelope=signed(house, "admin", types.POINTER, other))
    assert refusal(promote, request) is Reason.VERSION_UNKNOWN


def test_an_envelope_that_is_none(house):
    request = messages.PromoteRequest(envelope=b"{}")
    assert refusal(house.registry("admin").Promote, request) is Reason.DOCUMENT_MALFORMED


def test_a_rollback_to_what_was_never_live(house):
    with pytest.raises(Refusal) as caught:
        house.governance("admin").rollback("digits", "production", 99, "test")
    assert caught.value.reason is Reason.ROLLBACK_TARGET


def test_names_that_are_not_resources(house):
    registry = house.registry("auditor")
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


def test_an_approver_sees_the_evidence_and_recomputes_the_digest(house, proposal):
    hashed = []
    review = house.governance("approver-1").review(proposal.digest, hashed.append)
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


def test_promotion_and_rollback_move_what_answers(house):
    stub = house.inference()
    house.promote("digits", 2)
    assert stub.ModelInfer(question("digits", rows()), timeout=60).model_version == "2"
    house.governance("admin").rollback("digits", "production", 1, "test")
    house.await_version("digits", 1)
    assert stub.ModelInfer(question("digits", rows()), timeout=60).model_version == "1"
    history = house.registry("auditor").ListPointers(
        messages.ListPointersRequest(name="models/digits/aliases/production")
    )
    assert [pointer.action for pointer in history.pointers][:2] == ["rollback", "promote"]
