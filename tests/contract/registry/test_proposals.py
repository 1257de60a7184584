"""Proposals and approvals, and every way in which they are refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import Approval, sign_statement
from tests.support.builders.documents.people import at, key, refused
from tests.support.harness.registry import RegistryHarness


class TestProposal:
    def test_is_read_back(self, harness: RegistryHarness) -> None:
        record = harness.propose(harness.publish())
        assert harness.registry.proposals.get(record.digest) == record
        assert harness.registry.proposals.list("digits").records == (record,)
        assert record.approvals == ()

    def test_again_is_the_same(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        record = harness.propose(version)
        size = harness.registry.log.size()
        assert harness.propose(version) == record
        assert harness.registry.log.size() == size

    def test_signed_by_another(self, harness: RegistryHarness) -> None:
        proposal = harness.proposal(harness.publish())
        forged = sign_statement(proposal, key("peter")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.proposals.create("paula", forged)

    def test_handed_in_by_another(self, harness: RegistryHarness) -> None:
        proposal = sign_statement(harness.proposal(harness.publish()), key("paula")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.proposals.create("peter", proposal)

    def test_by_an_approver(self, harness: RegistryHarness) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            harness.propose(harness.publish(), proposer="anna")

    def test_of_an_approval(self, harness: RegistryHarness) -> None:
        approval = Approval(harness.policy.digest, "anna", "Yes.", at())
        with refused(Reason.SIGNATURE_INVALID):
            harness.registry.proposals.create(
                "anna", sign_statement(approval, key("anna")).encode()
            )

    def test_not_canonical(self, harness: RegistryHarness) -> None:
        envelope = sign_statement(harness.proposal(harness.publish()), key("paula")).encode()
        with refused(Reason.DOCUMENT_MALFORMED):
            harness.registry.proposals.create("paula", envelope + b"\n")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"policy": "sha256:" + "0" * 64}, Reason.POLICY_INVALID),
            ({"alias": "staging"}, Reason.ALIAS_UNKNOWN),
            ({"version": 2}, Reason.VERSION_UNKNOWN),
            ({"model": "letters"}, Reason.VERSION_UNKNOWN),
            ({"digest": "sha256:" + "0" * 64}, Reason.VERSION_UNKNOWN),
            ({"evidence": ()}, Reason.EVIDENCE_MISMATCH),
            ({"evidence": (("golden-run", "sha256:" + "0" * 64),)}, Reason.EVIDENCE_MISMATCH),
            ({"predecessor": 1}, Reason.SEQUENCE_STALE),
            ({"not_after": at()}, Reason.PROPOSAL_EXPIRED),
        ],
    )
    def test_that_does_not_fit(
        self, harness: RegistryHarness, changes: dict[str, object], reason: Reason
    ) -> None:
        version = harness.publish()
        with refused(reason):
            harness.propose(version, **changes)

    def test_under_an_older_policy(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        old = harness.policy.digest
        harness.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            harness.propose(version, policy=old)

    def test_of_a_revoked_version(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        harness.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            harness.propose(version)

    def test_unknown(self, harness: RegistryHarness) -> None:
        with refused(Reason.PROPOSAL_UNKNOWN):
            harness.registry.proposals.get("sha256:" + "0" * 64)
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.proposals.list("letters")


class TestApproval:
    def test_by_two_people(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        assert len(record.approvals) == 2
        assert harness.registry.proposals.get(record.digest) == record

    def test_twice(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna")
        harness.now += timedelta(minutes=1)
        with refused(Reason.APPROVAL_EXISTS):
            harness.approve(record, "anna")

    def test_by_the_publisher(self, harness: RegistryHarness) -> None:
        self.let("paula", "publisher", "approver", harness)
        record = harness.propose(harness.publish(), proposer="otto")
        with refused(Reason.SELF_APPROVAL):
            harness.approve(record, "paula")

    def test_by_the_proposer(self, harness: RegistryHarness) -> None:
        self.let("otto", "admin", "approver", harness)
        record = harness.propose(harness.publish(), proposer="otto")
        with refused(Reason.SELF_APPROVAL):
            harness.approve(record, "otto")

    def let(self, name: str, role: str, other: str, harness: RegistryHarness) -> None:
        """Give somebody two roles."""
        people = tuple(
            replace(person, roles=(role, other)) if person.name == name else person
            for person in harness.policy.principals
        )
        harness.accept(principals=people)

    def test_by_an_admin(self, harness: RegistryHarness) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            harness.approve(harness.propose(harness.publish()), "otto")

    def test_signed_by_another(self, harness: RegistryHarness) -> None:
        record = harness.propose(harness.publish())
        approval = Approval(record.digest, "anna", "Yes.", at())
        forged = sign_statement(approval, key("arne")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.proposals.approve("anna", forged)
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.proposals.approve(
                "arne", sign_statement(approval, key("anna")).encode()
            )

    def test_of_nothing(self, harness: RegistryHarness) -> None:
        approval = Approval("sha256:" + "0" * 64, "anna", "Yes.", at())
        with refused(Reason.PROPOSAL_UNKNOWN):
            harness.registry.proposals.approve(
                "anna", sign_statement(approval, key("anna")).encode()
            )

    def test_too_late(self, harness: RegistryHarness) -> None:
        record = harness.propose(harness.publish())
        harness.now += timedelta(days=8)
        with refused(Reason.PROPOSAL_EXPIRED):
            harness.approve(record, "anna")

    def test_after_a_move(self, harness: RegistryHarness) -> None:
        one, two = harness.publish("one"), harness.publish("two")
        record = harness.propose(two)
        harness.release(one)
        with refused(Reason.SEQUENCE_STALE):
            harness.approve(record, "anna")

    def test_after_a_revocation(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        record = harness.propose(version)
        harness.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            harness.approve(record, "anna")

    def test_under_an_older_policy(self, harness: RegistryHarness) -> None:
        record = harness.propose(harness.publish())
        harness.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            harness.approve(record, "anna")
