"""People who sign with passkeys: every statement is taken, an engine verifies it offline, and what
is wrong with one is refused with its reason.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from registry.state.records import PointerRecord, ProposalRecord
from sealgate.reasons import Reason
from sealgate.trust.policy.principals import Passkeys
from sealgate.trust.statements import (
    Approval,
    Comment,
    ProposalWithdrawal,
    Rejection,
    Revocation,
)
from sealgate.trust.times import format_time
from tests.support.builders.documents.authenticator import PRESENT, Authenticator
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness, verify_as_an_engine

KEYS = {
    "anna": Authenticator("anna"),
    "arne": Authenticator("arne", "eddsa"),
    "otto": Authenticator("otto", "rs256"),
    "paula": Authenticator("paula"),
}


@pytest.fixture
def harness(empty_harness: RegistryHarness) -> RegistryHarness:
    """A registry whose people have passkeys beside their keys."""
    people = tuple(
        replace(person, keys=(*person.keys, KEYS[person.name].keyid))
        if person.name in KEYS
        else person
        for person in empty_harness.policy.principals
    )
    passkeys = Passkeys({a.keyid: a.passkey for a in KEYS.values()})
    empty_harness.policy = replace(empty_harness.policy, principals=people, webauthn=passkeys)
    return empty_harness.found()


def approval(harness: RegistryHarness, proposal: ProposalRecord, name: str = "anna") -> Approval:
    return Approval(proposal.digest, name, "I have read it.", format_time(harness.now))


def approve(
    harness: RegistryHarness, proposal: ProposalRecord, name: str = "anna", **changes: Any
) -> ProposalRecord:
    envelope = KEYS[name].envelope(approval(harness, proposal, name), **changes)
    return harness.registry.proposals.approve(name, envelope.encode())


def promote(harness: RegistryHarness, proposal: ProposalRecord, **changes: Any) -> PointerRecord:
    envelope = KEYS["otto"].envelope(harness.pointer(proposal, **changes)).encode()
    return harness.registry.pointers.promote("otto", envelope)


def test_a_promotion_by_passkeys_alone_is_verified_offline(harness: RegistryHarness) -> None:
    version = harness.publish()
    proposed = harness.proposal(version)
    envelope = KEYS["paula"].envelope(proposed).encode()
    proposal = harness.registry.proposals.create("paula", envelope)
    approve(harness, proposal, "anna")
    approved = approve(harness, proposal, "arne")
    pointer = promote(harness, approved)
    verify_as_an_engine(harness, pointer)
    harness.registry.verify()
    harness.reopen().verify()


def test_a_rollback_and_a_revocation_by_passkey(harness: RegistryHarness) -> None:
    first = harness.release(harness.publish("one"))
    second = harness.publish("two")
    harness.release(second, predecessor=1)
    back = KEYS["otto"].envelope(harness.return_to(first, 3)).encode()
    verify_as_an_engine(harness, harness.registry.pointers.rollback("otto", back))
    said = Revocation(
        "digits", second.version, second.digest, "It leaks.", "otto", format_time(harness.now)
    )
    envelope = KEYS["otto"].envelope(said).encode()
    assert harness.registry.revocations.revoke("otto", envelope).revocation_reason == "It leaks."


def test_a_comment_a_rejection_and_a_withdrawal_by_passkey(harness: RegistryHarness) -> None:
    version = harness.publish()
    proposal, now = harness.propose(version), format_time(harness.now)
    said = KEYS["anna"].envelope(Comment(proposal.digest, "anna", "See row 17.", now)).encode()
    assert harness.registry.replies.comment("anna", said).comments
    no = KEYS["anna"].envelope(Rejection(proposal.digest, "anna", "No.", now)).encode()
    assert harness.registry.replies.reject("anna", no).state == "rejected"
    harness.now += timedelta(minutes=1)
    other = harness.propose(version)
    word = ProposalWithdrawal(other.digest, "paula", "Another.", now)
    envelope = KEYS["paula"].envelope(word).encode()
    assert harness.registry.replies.withdraw("paula", envelope).state == "withdrawn"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.WEBAUTHN_ORIGIN, {"origin": "https://console.example.com"}),
        (Reason.WEBAUTHN_RP_ID, {"rp_id": "example.com"}),
        (Reason.WEBAUTHN_USER, {"flags": PRESENT}),
        (Reason.WEBAUTHN_TYPE, {"type": "webauthn.create"}),
        (Reason.SIGNATURE_INVALID, {"signed": b"something else"}),
    ],
)
def test_what_is_wrong_is_refused(
    harness: RegistryHarness, reason: Reason, changes: dict[str, Any]
) -> None:
    proposal = harness.propose(harness.publish())
    with refused(reason):
        approve(harness, proposal, **changes)


def test_a_statement_altered_after_signing(harness: RegistryHarness) -> None:
    proposal = harness.propose(harness.publish())
    signed = KEYS["anna"].envelope(approval(harness, proposal))
    altered = replace(approval(harness, proposal), meaning="I have not read it.")
    with refused(Reason.WEBAUTHN_CHALLENGE):
        forged = replace(signed, payload=altered.encode())
        harness.registry.proposals.approve("anna", forged.encode())


def test_an_approval_replayed_on_another_proposal(harness: RegistryHarness) -> None:
    version = harness.publish()
    proposal, other = harness.propose(version), harness.propose(version, alias="canary")
    signed = KEYS["anna"].envelope(approval(harness, proposal))
    with refused(Reason.WEBAUTHN_CHALLENGE):
        forged = replace(signed, payload=approval(harness, other).encode())
        harness.registry.proposals.approve("anna", forged.encode())


def test_anothers_passkey(harness: RegistryHarness) -> None:
    proposal = harness.propose(harness.publish())
    envelope = KEYS["arne"].envelope(approval(harness, proposal, "anna")).encode()
    with refused(Reason.SIGNER_MISMATCH):
        harness.registry.proposals.approve("anna", envelope)


def test_two_signatures_of_one_person_are_one_approval(harness: RegistryHarness) -> None:
    proposal = harness.propose(harness.publish())
    approve(harness, proposal)
    with refused(Reason.APPROVAL_EXISTS):
        harness.approve(proposal, "anna")


class TestCounter:
    def test_that_grows(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        approve(harness, harness.propose(version), counter=4)
        approve(harness, harness.propose(version, alias="canary"), counter=5)
        assert harness.registry.logged().passkey_counters == {KEYS["anna"].keyid: 5}
        harness.registry.verify()

    @pytest.mark.parametrize("counter", [4, 3, 0])
    def test_of_a_cloned_authenticator(self, harness: RegistryHarness, counter: int) -> None:
        version = harness.publish()
        approve(harness, harness.propose(version), counter=4)
        other = harness.propose(version, alias="canary")
        with refused(Reason.WEBAUTHN_COUNTER):
            approve(harness, other, counter=counter)
        # A row that an attacker deletes is still in the log.
        harness.reopen()
        with refused(Reason.WEBAUTHN_COUNTER):
            approve(harness, other, counter=counter)

    def test_of_a_change_that_failed_does_not_count(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        proposal = harness.propose(version)
        approve(harness, proposal, counter=4)
        with refused(Reason.APPROVAL_EXISTS):
            approve(harness, proposal, counter=9)
        approve(harness, harness.propose(version, alias="canary"), counter=5)

    def test_that_there_is_none(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        size = harness.registry.log.size()
        approve(harness, harness.propose(version))
        approve(harness, harness.propose(version, alias="canary"))
        # Two proposals, two approvals.
        assert harness.registry.log.size() == size + 4


def test_a_passkey_that_the_policy_no_longer_lists(harness: RegistryHarness) -> None:
    proposal = harness.approve(harness.propose(harness.publish()), "anna")
    pointer = promote(harness, approve(harness, proposal, "arne"))
    others = [KEYS[name] for name in ("anna", "otto", "paula")]
    without = Passkeys({other.keyid: other.passkey for other in others})
    people = tuple(
        replace(p, keys=p.keys[:1]) if p.name == "arne" else p for p in harness.policy.principals
    )
    harness.accept(webauthn=without, principals=people)
    with refused(Reason.KEY_WITHDRAWN):
        verify_as_an_engine(harness, pointer)
