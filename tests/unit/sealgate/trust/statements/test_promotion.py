from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import (
    Approval,
    Pointer,
    PointerBundle,
    sign_statement,
)
from tests.support.builders.documents.people import (
    PromotionDocuments,
    at,
    changed_people,
    key,
    make_policy,
    refused,
    verified_pointer,
)

POLICY = make_policy()
OFFICE = PromotionDocuments(POLICY)
BUNDLE = OFFICE.promotion()


def resigned(bundle: PointerBundle, signer: str, **changes: Any) -> PointerBundle:
    """The bundle with its pointer changed and signed by `signer`, whoever that is."""
    pointer = replace(Pointer.decode(bundle.pointer.payload), **changes)
    return replace(bundle, pointer=sign_statement(pointer, key(signer)))


def test_a_promotion_is_borne_out() -> None:
    pointer = verified_pointer(BUNDLE)
    assert (pointer.model, pointer.alias, pointer.version) == ("digits", "production", 1)
    assert verified_pointer(PointerBundle.decode(BUNDLE.encode())) == pointer


def test_an_admin_may_propose_what_a_publisher_made() -> None:
    verified_pointer(OFFICE.promotion(proposer="otto"))


# The signatures: who signed, as what, under which role.


def test_a_pointer_that_its_admin_did_not_sign_is_refused() -> None:
    for signer in ("anna", "mallory", "root-0"):
        with refused(Reason.SIGNER_MISMATCH):
            verified_pointer(resigned(BUNDLE, signer))
    with refused(Reason.SIGNER_MISMATCH):
        verified_pointer(resigned(BUNDLE, "mallory", admin="mallory"))
    both = sign_statement(Pointer.decode(BUNDLE.pointer.payload), key("otto"), key("anna"))
    with refused(Reason.SIGNER_MISMATCH):
        verified_pointer(replace(BUNDLE, pointer=both))


@pytest.mark.parametrize("name", ["anna", "paula", "carla", "guard", "fresh"])
def test_a_pointer_of_who_is_no_admin_is_refused(name: str) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        verified_pointer(resigned(BUNDLE, name, admin=name))


@pytest.mark.parametrize("name", ["anna", "carla", "fresh"])
def test_a_proposal_of_who_may_not_propose_is_refused(name: str) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        verified_pointer(OFFICE.promotion(proposer=name))


def test_a_proposal_that_its_proposer_did_not_sign_is_refused() -> None:
    forged = sign_statement(OFFICE.proposal(), key("otto"))
    with refused(Reason.SIGNER_MISMATCH):
        verified_pointer(replace(BUNDLE, proposal=forged))


@pytest.mark.parametrize("part", ["pointer", "proposal", "approvals"])
def test_altered_signatures_are_refused(part: str) -> None:
    def forge(envelope: Envelope) -> Envelope:
        ((keyid, signature),) = envelope.signatures
        return replace(envelope, signatures=((keyid, signature[:-1] + b"\x00"),))

    value = getattr(BUNDLE, part)
    changes: dict[str, Any] = {
        part: tuple(map(forge, value)) if part == "approvals" else forge(value)
    }
    with refused(Reason.SIGNATURE_INVALID):
        verified_pointer(replace(BUNDLE, **changes))


def test_a_document_of_one_type_does_not_pass_as_another() -> None:
    for part in ("pointer", "proposal"):
        envelope = replace(getattr(BUNDLE, part), payload_type=Approval.PAYLOAD_TYPE)
        with refused(Reason.SIGNATURE_INVALID):
            verified_pointer(replace(BUNDLE, **{part: envelope}))
    with refused(Reason.DOCUMENT_MALFORMED):
        verified_pointer(replace(BUNDLE, pointer=BUNDLE.proposal))


# The proposal: the pointer says what was proposed, and nothing else.


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "faces"},
        {"alias": "canary"},
        {"version": 2},
        {"digest": "sha256:" + "9" * 64},
        {"sequence": 2},
        {"proposal": "sha256:" + "9" * 64},
        {"approvals": ()},
        {"approvals": ("sha256:" + "9" * 64,)},
    ],
)
def test_a_pointer_that_differs_from_what_was_approved_is_refused(
    changes: Mapping[str, Any],
) -> None:
    with refused(Reason.POINTER_INVALID):
        verified_pointer(resigned(BUNDLE, "otto", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"alias": "canary"},
        {"predecessor": 1},
        {"not_after": at(days=8)},
        {"evidence": ()},
        {"digest": "sha256:" + "9" * 64},
    ],
)
def test_approvals_cannot_be_replayed_for_another_proposal(changes: Mapping[str, Any]) -> None:
    other = OFFICE.proposal(**changes)
    pointer = OFFICE.pointer(other, BUNDLE.approvals)
    replayed = PointerBundle(
        sign_statement(pointer, key("otto")), sign_statement(other, key("paula")), BUNDLE.approvals
    )
    with refused(Reason.POINTER_INVALID):
        verified_pointer(replayed)


def test_a_proposal_runs_out() -> None:
    verified_pointer(OFFICE.promotion(not_after=at(minutes=-30)))
    with refused(Reason.PROPOSAL_EXPIRED):
        verified_pointer(OFFICE.promotion(not_after=at(minutes=-31)))


# The approvals: enough people, none of them judging their own work.


@pytest.mark.parametrize("approvers", [(), ("anna",), ("arne",)])
def test_too_few_approvals_are_refused(approvers: tuple[str, ...]) -> None:
    with refused(Reason.APPROVALS_MISSING):
        verified_pointer(OFFICE.promotion(approvers))


def test_one_person_does_not_count_twice() -> None:
    proposal = OFFICE.proposal()
    approvals = tuple(
        sign_statement(Approval(proposal.payload_digest, "anna", meaning, at()), key("anna"))
        for meaning in ("I have reviewed it.", "I have reviewed it again.")
    )
    pointer = OFFICE.pointer(proposal, approvals)
    with refused(Reason.APPROVALS_MISSING):
        verified_pointer(
            replace(BUNDLE, approvals=approvals, pointer=sign_statement(pointer, key("otto")))
        )


def test_two_keys_of_one_person_do_not_count_twice() -> None:
    second = key("anna-2").public
    policy = make_policy(
        keys={**POLICY.keys, second.keyid: second},
        principals=changed_people("anna", keys=(key("anna").public.keyid, second.keyid)),
    )
    promotion_documents = PromotionDocuments(policy)
    proposal = promotion_documents.proposal()
    approvals = tuple(
        sign_statement(Approval(proposal.payload_digest, "anna", "Good.", time), key(signer))
        for signer, time in (("anna", at()), ("anna-2", at(seconds=1)))
    )
    pointer = sign_statement(promotion_documents.pointer(proposal, approvals), key("otto"))
    bundle = PointerBundle(pointer, sign_statement(proposal, key("paula")), approvals)
    with refused(Reason.APPROVALS_MISSING):
        verified_pointer(bundle, first=policy)


def test_one_approval_shown_twice_does_not_count_twice() -> None:
    twice = BUNDLE.approvals[:1] * 2
    with refused(Reason.POINTER_INVALID):
        verified_pointer(replace(BUNDLE, approvals=twice))


def test_nobody_approves_their_own_work() -> None:
    everyone = {"paula": ("publisher", "approver"), "peter": ("publisher", "approver")}
    people = tuple(replace(p, roles=everyone.get(p.name, p.roles)) for p in POLICY.principals)
    policy = make_policy(principals=people)
    promotion_documents = PromotionDocuments(policy)
    # Paula made the version, Peter proposed it: neither may approve, in any company.
    for approvers in (("paula", "anna"), ("peter", "anna"), ("anna", "arne", "peter")):
        with refused(Reason.SELF_APPROVAL):
            verified_pointer(
                promotion_documents.promotion(approvers, proposer="peter"), first=policy
            )
    verified_pointer(
        promotion_documents.promotion(("anna", "arne"), proposer="peter"), first=policy
    )
    # A publisher who neither made nor proposed the version may approve it.
    verified_pointer(promotion_documents.promotion(("anna", "peter")), first=policy)


@pytest.mark.parametrize("name", ["carla", "otto", "fresh"])
def test_an_approval_of_who_may_not_approve_is_refused(name: str) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        verified_pointer(OFFICE.promotion(("anna", "arne", name)))


def test_an_approval_that_another_signed_is_refused() -> None:
    proposal = OFFICE.proposal()
    forged = sign_statement(
        Approval(proposal.payload_digest, "arne", "I have reviewed it.", at()), key("anna")
    )
    approvals = (BUNDLE.approvals[0], forged)
    pointer = sign_statement(OFFICE.pointer(proposal, approvals), key("otto"))
    with refused(Reason.SIGNER_MISMATCH):
        verified_pointer(replace(BUNDLE, pointer=pointer, approvals=approvals))


def test_each_alias_has_its_own_rule() -> None:
    verified_pointer(OFFICE.promotion(("anna",), alias="canary"))
    with refused(Reason.ALIAS_UNKNOWN):
        verified_pointer(OFFICE.promotion(alias="staging"))
