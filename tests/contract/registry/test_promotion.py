"""Moving an alias to an approved version, and every way in which that is refused."""

from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import Manifest, sign_statement
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau, verify_as_an_engine
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
    assert bureau.registry.pointers.history("digits", "production").records == (second, first)
    verify_as_an_engine(bureau, second)


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
