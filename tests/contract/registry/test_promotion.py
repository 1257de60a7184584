"""From a proposal to a live pointer, and every way in which that is refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from registry.records import PointerRecord
from sealgate.reasons import Reason
from sealgate.trust import oms
from sealgate.trust.dsse import Envelope
from sealgate.trust.manifest import Manifest
from sealgate.trust.promotion import check_covered, sign_statement, verify_freshness, verify_pointer
from sealgate.trust.statements import Approval, Pointer, PointerBundle, Proposal
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau, pointer_envelope
from tests.support.people import at, key, refused


def test_a_version_goes_live(bureau: Bureau) -> None:
    pointer = bureau.release(bureau.publish())
    assert (pointer.sequence, pointer.version, pointer.action) == (1, 1, "promote")
    assert pointer.admin == "otto"
    assert bureau.registry.pointers.get("digits", "production") == pointer
    verify_as_an_engine(bureau, pointer)


def test_a_second_version_follows(bureau: Bureau) -> None:
    first = bureau.release(bureau.publish("one"))
    second = bureau.release(bureau.publish("two"), predecessor=1)
    assert bureau.registry.pointers.history("digits", "production") == (second, first)
    verify_as_an_engine(bureau, second)


def verify_as_an_engine(bureau: Bureau, pointer: PointerRecord) -> None:
    """Check a snapshot with nothing but the chain, as an engine would."""
    snapshot = bureau.registry.snapshot()
    chain = bureau.registry.policies.chain()
    live = {(item.model, item.alias): item for item in snapshot.live}["digits", "production"]
    manifest = Manifest.decode(live.manifest)
    signer = oms.verify(live.signature, manifest, chain.newest.keys.values())
    publisher = chain.newest.holder(signer.keyid)
    assert publisher is not None
    bundle = PointerBundle.decode(live.bundle)
    verified = verify_pointer(bundle, chain.by_digest, chain.newest, publisher.name, bureau.now)
    freshness = verify_freshness(Envelope.decode(snapshot.freshness), chain.newest, bureau.now)
    check_covered(verified, freshness)
    assert verified.digest == manifest.digest == pointer.version_digest
    assert verified.sequence == pointer.sequence


class TestProposal:
    def test_is_read_back(self, bureau: Bureau) -> None:
        record = bureau.propose(bureau.publish())
        assert bureau.registry.proposals.get(record.digest) == record
        assert bureau.registry.proposals.list("digits") == (record,)
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


class TestPromotion:
    def test_with_one_approval(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna")
        with refused(Reason.APPROVALS_MISSING):
            bureau.promote(record)

    def test_with_an_approval_that_was_not_handed_in(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        named = (*bureau.pointer(record).approvals, "sha256:" + "f" * 64)
        with refused(Reason.APPROVALS_MISSING):
            bureau.promote(record, approvals=tuple(sorted(named)))

    def test_of_nothing(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        with refused(Reason.PROPOSAL_UNKNOWN):
            bureau.promote(record, proposal="sha256:" + "0" * 64)

    def test_by_a_publisher(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        with refused(Reason.ROLE_TOO_LOW):
            bureau.promote(record, admin="paula")

    def test_signed_by_another(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        pointer = bureau.pointer(record)
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.pointers.promote("otto", sign_statement(pointer, key("anna")).encode())
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.pointers.promote("anna", sign_statement(pointer, key("otto")).encode())

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"alias": "canary"}, Reason.POINTER_INVALID),
            ({"version": 2}, Reason.VERSION_UNKNOWN),
            ({"digest": "sha256:" + "0" * 64}, Reason.VERSION_UNKNOWN),
            ({"sequence": 2}, Reason.SEQUENCE_STALE),
            ({"policy": "sha256:" + "0" * 64}, Reason.POLICY_INVALID),
            ({"time": at(days=1)}, Reason.POINTER_INVALID),
        ],
    )
    def test_that_differs(self, bureau: Bureau, changes: dict[str, object], reason: Reason) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        with refused(reason):
            bureau.promote(record, **changes)

    def test_twice(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        bureau.promote(record)
        with refused(Reason.SEQUENCE_STALE):
            bureau.promote(record)

    def test_too_late_even_if_dated_back(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        before = format_time(bureau.now)
        bureau.now += timedelta(days=8)
        with refused(Reason.PROPOSAL_EXPIRED):
            bureau.promote(record, time=before)

    def test_of_a_revoked_version(self, bureau: Bureau) -> None:
        version = bureau.publish()
        record = bureau.approve(bureau.propose(version), "anna", "arne")
        bureau.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            bureau.promote(record)

    def test_of_the_same_bytes_revoked_under_another_model(self, bureau: Bureau) -> None:
        bureau.registry.models.create("paula", "letters")
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        bureau.revoke(bureau.publish(model="letters"))
        with refused(Reason.VERSION_REVOKED):
            bureau.promote(record)

    def test_of_altered_bytes(self, bureau: Bureau) -> None:
        version = bureau.publish()
        record = bureau.approve(bureau.propose(version), "anna", "arne")
        digest = Manifest.decode(version.manifest).entry("model.int8.onnx").digest
        stored = next(bureau.folder.glob(f"artifacts/{digest[7:9]}/{digest[9:]}"))
        data = stored.read_bytes()
        stored.chmod(0o600)
        stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with refused(Reason.VERSION_ALTERED):
            bureau.promote(record)
        stored.unlink()
        with refused(Reason.VERSION_ALTERED):
            bureau.promote(record)

    def test_as_a_rollback(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        envelope = sign_statement(bureau.pointer(record), key("otto")).encode()
        with refused(Reason.POINTER_INVALID):
            bureau.registry.pointers.rollback("otto", envelope)

    def test_under_an_older_policy(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        bureau.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            bureau.promote(record)

    def test_under_an_expired_policy(self, bureau: Bureau) -> None:
        record = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
        bureau.now += timedelta(days=301)
        with refused(Reason.POLICY_EXPIRED):
            bureau.promote(record)

    def test_of_an_alias_that_never_moved(self, bureau: Bureau) -> None:
        with refused(Reason.ALIAS_UNKNOWN):
            bureau.registry.pointers.get("digits", "production")
        with refused(Reason.MODEL_UNKNOWN):
            bureau.registry.pointers.history("letters", "production")


class TestRollback:
    def test_returns(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        bureau.release(bureau.publish("two"), predecessor=1)
        back = bureau.roll_back(first, 3)
        assert (back.action, back.version, back.sequence) == ("rollback", 1, 3)
        verify_as_an_engine(bureau, back)

    def test_by_a_service_of_that_role(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        bureau.release(bureau.publish("two"), predecessor=1)
        assert bureau.roll_back(first, 3, admin="guard").version == 1

    def test_by_an_approver(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        with refused(Reason.ROLE_TOO_LOW):
            bureau.roll_back(first, 2, admin="anna")

    def test_survives_a_new_policy(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        bureau.accept()
        bureau.release(bureau.publish("two"), predecessor=1)
        assert bureau.roll_back(first, 3).version == 1

    def test_to_what_never_was(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(first, 2, returns_to="sha256:" + "0" * 64)

    def test_to_another_alias(self, bureau: Bureau) -> None:
        version = bureau.publish("one")
        record = bureau.approve(bureau.propose(version, alias="canary"), "anna")
        canary = bureau.promote(record)
        bureau.release(version)
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(canary, 2, alias="production")

    def test_to_a_rollback(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        bureau.release(bureau.publish("two"), predecessor=1)
        back = bureau.roll_back(first, 3)
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(back, 4)

    def test_to_another_version(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        two = bureau.publish("two")
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(first, 2, version=2, digest=two.digest)

    def test_to_a_revoked_version(self, bureau: Bureau) -> None:
        one = bureau.publish("one")
        first = bureau.release(one)
        bureau.release(bureau.publish("two"), predecessor=1)
        bureau.revoke(one)
        with refused(Reason.VERSION_REVOKED):
            bureau.roll_back(first, 3)

    def test_stale(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        bureau.release(bureau.publish("two"), predecessor=1)
        bureau.roll_back(first, 3)
        with refused(Reason.SEQUENCE_STALE):
            bureau.roll_back(first, 3)

    def test_as_a_promotion(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        pointer = bureau.return_to(first, 2)
        with refused(Reason.POINTER_INVALID):
            bureau.registry.pointers.promote("otto", sign_statement(pointer, key("otto")).encode())

    def test_signed_by_another(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        pointer = bureau.return_to(first, 2)
        with refused(Reason.SIGNER_MISMATCH):
            bureau.registry.pointers.rollback("otto", sign_statement(pointer, key("anna")).encode())

    def test_keeps_what_was_said(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        envelope = pointer_envelope(first)
        assert Pointer.decode(envelope.payload).reason == first.reason
        proposal = PointerBundle.decode(first.bundle).proposal
        assert Proposal.decode(proposal.payload).model == "digits"
