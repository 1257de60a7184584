"""Moving an alias back, and every way in which that is refused."""

from sealgate.reasons import Reason
from sealgate.trust.policy.health_limits import HealthLimits, HealthRules
from sealgate.trust.statements import Pointer, PointerBundle, Proposal, sign_statement
from tests.support.bureau import Bureau, pointer_envelope, verify_as_an_engine
from tests.support.people import key, refused


def item_pointer(bundle: bytes) -> bytes:
    return PointerBundle.decode(bundle).pointer.payload


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

    def test_a_service_returns_to_the_previous_version_alone(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        second = bureau.release(bureau.publish("two"), predecessor=1)
        bureau.release(bureau.publish("three"), predecessor=2)
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(first, 4, admin="guard")
        assert bureau.registry.pointers.previous("digits", "production").version == 2
        assert bureau.roll_back(second, 4, admin="guard").version == 2

    def test_a_service_returns_once_until_a_person_promotes(self, bureau: Bureau) -> None:
        first = bureau.release(bureau.publish("one"))
        two = bureau.publish("two")
        second = bureau.release(two, predecessor=1)
        bureau.roll_back(first, 3, admin="guard")
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(second, 4, admin="guard")
        with refused(Reason.ROLLBACK_TARGET):
            bureau.registry.pointers.previous("digits", "production")
        bureau.roll_back(second, 4)
        with refused(Reason.ROLLBACK_TARGET):
            bureau.roll_back(first, 5, admin="guard")
        bureau.release(two, predecessor=4)
        assert bureau.roll_back(first, 6, admin="guard").version == 1

    def test_what_an_alias_would_return_to(self, bureau: Bureau) -> None:
        def earlier() -> list[tuple[str, int, int]]:
            found = bureau.registry.snapshot(earlier=True).live
            sequences = (Pointer.decode(item_pointer(item.bundle)).sequence for item in found)
            return [
                (item.alias, item.version, at) for item, at in zip(found, sequences, strict=True)
            ]

        first = bureau.release(bureau.publish("one"))
        assert earlier() == []
        two = bureau.publish("two")
        bureau.release(two, predecessor=1)
        assert earlier() == [("production", 1, 1)]
        bureau.release(two, predecessor=2)
        assert earlier() == [("production", 1, 1)]
        bureau.roll_back(first, 4)
        assert earlier() == [("production", 2, 3)]

    def test_a_service_has_nothing_to_return_to(self, bureau: Bureau) -> None:
        bureau.release(bureau.publish("one"))
        with refused(Reason.ROLLBACK_TARGET):
            bureau.registry.pointers.previous("digits", "production")
        with refused(Reason.ALIAS_UNKNOWN):
            bureau.registry.pointers.previous("digits", "canary")

    def test_a_service_is_held_to_the_same_as_an_admin(self, bureau: Bureau) -> None:
        one = bureau.publish("one")
        first = bureau.release(one)
        bureau.release(bureau.publish("two"), predecessor=1)
        bureau.revoke(one)
        with refused(Reason.VERSION_REVOKED):
            bureau.roll_back(first, 3, admin="guard")

    def test_a_service_promotes_nothing(self, bureau: Bureau) -> None:
        proposal = bureau.approve(bureau.propose(bureau.publish("one")), "anna", "arne")
        with refused(Reason.ROLE_TOO_LOW):
            bureau.promote(proposal, admin="guard")

    def test_a_service_returns_what_health_names(self, bureau: Bureau) -> None:
        limits = HealthLimits(60, 100, error_percent=5)
        bureau.accept(health=HealthRules({"digits": {"canary": limits}}))
        first = bureau.release(bureau.publish("one"))
        bureau.release(bureau.publish("two"), predecessor=1)
        with refused(Reason.ROLE_TOO_LOW):
            bureau.roll_back(first, 3, admin="guard")
        bureau.accept(health=HealthRules({"digits": {"production": limits}}))
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
