"""Proposals and approvals, and every way in which they are refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import Approval, sign_statement
from tests.support.bureau import Bureau
from tests.support.people import at, key, refused


class TestProposal:
    def test_is_read_back(self, bureau: Bureau) -> None:
        record = bureau.propose(bureau.publish())
        assert bureau.registry.proposals.get(record.digest) == record
        assert bureau.registry.proposals.list("digits").records == (record,)
        assert record.approvals == ()

    def test_again_is_the_same(self, bureau: Bureau) -> None:
        version = bureau.publish()
        record = bureau.propose(version)
        size = bureau.registry.log.size()
        assert bureau.propose(version) == record
        assert bureau.registry.log.size() == size

    def test_signed_by_another(self, bureau: Bureau) -> None:
        proposal = bureau.proposal(bureau.publish())
        forged = sign_statement(proposal, key("peter")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.proposals.create("paula", forged)

    def test_handed_in_by_another(self, bureau: Bureau) -> None:
        proposal = sign_statement(bureau.proposal(bureau.publish()), key("paula")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.proposals.create("peter", proposal)

    def test_by_an_approver(self, bureau: Bureau) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            bureau.propose(bureau.publish(), proposer="anna")

    def test_of_an_approval(self, bureau: Bureau) -> None:
        approval = Approval(bureau.policy.digest, "anna", "Yes.", at())
        with refused(Reason.SIGNATURE_INVALID):
            bureau.registry.proposals.create("anna", sign_statement(approval, key("anna")).encode())

    def test_not_canonical(self, bureau: Bureau) -> None:
        envelope = sign_statement(bureau.proposal(bureau.publish()), key("paula")).encode()
        with refused(Reason.DOCUMENT_MALFORMED):
            bureau.registry.proposals.create("paula", envelope + b"\n")

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
        self, bureau: Bureau, changes: dict[str, object], reason: Reason
    ) -> None:
        version = bureau.publish()
        with refused(reason):
            bureau.propose(version, **changes)

    def test_under_an_older_policy(self, bureau: Bureau) -> None:
        version = bureau.publish()
        old = bureau.policy.digest
        bureau.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            bureau.propose(version, policy=old)

    def test_of_a_revoked_version(self, bureau: Bureau) -> None:
        version = bureau.publish()
        bureau.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            bureau.propose(version)

    def test_unknown(self, bureau: Bureau) -> None:
        with refused(Reason.PROPOSAL_UNKNOWN):
            bureau.registry.proposals.get("sha256:" + "0" * 64)
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.proposals.list("letters")


class TestApproval:
    def test_by_two_people(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        assert len(record.approvals) == 2
        assert bureau.registry.proposals.get(record.digest) == record

    def test_twice(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna")
        bureau.now += timedelta(minutes=1)
        with refused(Reason.APPROVAL_EXISTS):
            bureau.approve(record, "anna")

    def test_by_the_publisher(self, bureau: Bureau) -> None:
        self.let("paula", "publisher", "approver", bureau)
        record = bureau.propose(bureau.publish(), proposer="otto")
        with refused(Reason.SELF_APPROVAL):
            bureau.approve(record, "paula")

    def test_by_the_proposer(self, bureau: Bureau) -> None:
        self.let("otto", "admin", "approver", bureau)
        record = bureau.propose(bureau.publish(), proposer="otto")
        with refused(Reason.SELF_APPROVAL):
            bureau.approve(record, "otto")

    def let(self, name: str, role: str, other: str, bureau: Bureau) -> None:
        """Give somebody two roles."""
        people = tuple(
            replace(person, roles=(role, other)) if person.name == name else person
            for person in bureau.policy.principals
        )
        bureau.accept(principals=people)

    def test_by_an_admin(self, bureau: Bureau) -> None:
        with refused(Reason.ROLE_TOO_LOW):
            bureau.approve(bureau.propose(bureau.publish()), "otto")

    def test_signed_by_another(self, bureau: Bureau) -> None:
        record = bureau.propose(bureau.publish())
        approval = Approval(record.digest, "anna", "Yes.", at())
        forged = sign_statement(approval, key("arne")).encode()
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.proposals.approve("anna", forged)
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.proposals.approve(
                "arne", sign_statement(approval, key("anna")).encode()
            )

    def test_of_nothing(self, bureau: Bureau) -> None:
        approval = Approval("sha256:" + "0" * 64, "anna", "Yes.", at())
        with refused(Reason.PROPOSAL_UNKNOWN):
            bureau.registry.proposals.approve(
                "anna", sign_statement(approval, key("anna")).encode()
            )

    def test_too_late(self, bureau: Bureau) -> None:
        record = bureau.propose(bureau.publish())
        bureau.now += timedelta(days=8)
        with refused(Reason.PROPOSAL_EXPIRED):
            bureau.approve(record, "anna")

    def test_after_a_move(self, bureau: Bureau) -> None:
        one, two = bureau.publish("one"), bureau.publish("two")
        record = bureau.propose(two)
        bureau.release(one)
        with refused(Reason.SEQUENCE_STALE):
            bureau.approve(record, "anna")

    def test_after_a_revocation(self, bureau: Bureau) -> None:
        version = bureau.publish()
        record = bureau.propose(version)
        bureau.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            bureau.approve(record, "anna")

    def test_under_an_older_policy(self, bureau: Bureau) -> None:
        record = bureau.propose(bureau.publish())
        bureau.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            bureau.approve(record, "anna")
