"""Moving an alias to an approved version, and every way in which that is refused."""

from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import Manifest, sign_statement
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import at, key, refused
from tests.support.harness.registry import RegistryHarness, verify_as_an_engine


def test_a_version_goes_live(harness: RegistryHarness) -> None:
    pointer = harness.release(harness.publish())
    assert (pointer.sequence, pointer.version, pointer.action) == (1, 1, "promote")
    assert pointer.admin == "otto"
    assert harness.registry.pointers.get("digits", "production") == pointer
    verify_as_an_engine(harness, pointer)


def test_a_second_version_follows(harness: RegistryHarness) -> None:
    first = harness.release(harness.publish("one"))
    second = harness.release(harness.publish("two"), predecessor=1)
    assert harness.registry.pointers.history("digits", "production").records == (second, first)
    verify_as_an_engine(harness, second)


class TestPromotion:
    def test_with_one_approval(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna")
        with refused(Reason.APPROVALS_MISSING):
            harness.promote(record)

    def test_with_an_approval_that_was_not_handed_in(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        named = (*harness.pointer(record).approvals, "sha256:" + "f" * 64)
        with refused(Reason.APPROVALS_MISSING):
            harness.promote(record, approvals=tuple(sorted(named)))

    def test_of_nothing(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        with refused(Reason.PROPOSAL_UNKNOWN):
            harness.promote(record, proposal="sha256:" + "0" * 64)

    def test_by_a_publisher(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        with refused(Reason.ROLE_TOO_LOW):
            harness.promote(record, admin="paula")

    def test_signed_by_another(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        pointer = harness.pointer(record)
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.pointers.promote("otto", sign_statement(pointer, key("anna")).encode())
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.pointers.promote("anna", sign_statement(pointer, key("otto")).encode())

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
    def test_that_differs(
        self, harness: RegistryHarness, changes: dict[str, object], reason: Reason
    ) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        with refused(reason):
            harness.promote(record, **changes)

    def test_twice(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        harness.promote(record)
        with refused(Reason.SEQUENCE_STALE):
            harness.promote(record)

    def test_too_late_even_if_dated_back(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        before = format_time(harness.now)
        harness.now += timedelta(days=8)
        with refused(Reason.PROPOSAL_EXPIRED):
            harness.promote(record, time=before)

    def test_of_a_revoked_version(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        record = harness.approve(harness.propose(version), "anna", "arne")
        harness.revoke(version)
        with refused(Reason.VERSION_REVOKED):
            harness.promote(record)

    def test_of_the_same_bytes_revoked_under_another_model(self, harness: RegistryHarness) -> None:
        harness.registry.models.create("paula", "letters")
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        harness.revoke(harness.publish(model="letters"))
        with refused(Reason.VERSION_REVOKED):
            harness.promote(record)

    def test_of_altered_bytes(self, harness: RegistryHarness) -> None:
        version = harness.publish()
        record = harness.approve(harness.propose(version), "anna", "arne")
        digest = Manifest.decode(version.manifest).entry("model.int8.onnx").digest
        stored = next(harness.folder.glob(f"artifacts/{digest[7:9]}/{digest[9:]}"))
        data = stored.read_bytes()
        stored.chmod(0o600)
        stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with refused(Reason.VERSION_ALTERED):
            harness.promote(record)
        stored.unlink()
        with refused(Reason.VERSION_ALTERED):
            harness.promote(record)

    def test_as_a_rollback(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        envelope = sign_statement(harness.pointer(record), key("otto")).encode()
        with refused(Reason.POINTER_INVALID):
            harness.registry.pointers.rollback("otto", envelope)

    def test_under_an_older_policy(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        harness.accept()
        with refused(Reason.POLICY_ROLLED_BACK):
            harness.promote(record)

    def test_under_an_expired_policy(self, harness: RegistryHarness) -> None:
        record = harness.approve(harness.propose(harness.publish()), "anna", "arne")
        harness.now += timedelta(days=301)
        with refused(Reason.POLICY_EXPIRED):
            harness.promote(record)

    def test_of_an_alias_that_never_moved(self, harness: RegistryHarness) -> None:
        with refused(Reason.ALIAS_UNKNOWN):
            harness.registry.pointers.get("digits", "production")
        with refused(Reason.MODEL_UNKNOWN):
            harness.registry.pointers.history("letters", "production")
