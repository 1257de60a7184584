"""Moving an alias back, and every way in which that is refused."""

from sealgate.reasons import Reason
from sealgate.trust.policy.health_limits import HealthLimits, HealthRules
from sealgate.trust.statements import Pointer, PointerBundle, Proposal, sign_statement
from tests.support.builders.documents.people import key, refused
from tests.support.harness.registry import RegistryHarness, pointer_envelope, verify_as_an_engine


def item_pointer(bundle: bytes) -> bytes:
    return PointerBundle.decode(bundle).pointer.payload


class TestRollback:
    def test_returns(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        harness.release(harness.publish("two"), predecessor=1)
        back = harness.roll_back(first, 3)
        assert (back.action, back.version, back.sequence) == ("rollback", 1, 3)
        verify_as_an_engine(harness, back)

    def test_by_a_service_of_that_role(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        harness.release(harness.publish("two"), predecessor=1)
        assert harness.roll_back(first, 3, admin="guard").version == 1

    def test_a_service_returns_to_the_previous_version_alone(
        self, harness: RegistryHarness
    ) -> None:
        first = harness.release(harness.publish("one"))
        second = harness.release(harness.publish("two"), predecessor=1)
        harness.release(harness.publish("three"), predecessor=2)
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(first, 4, admin="guard")
        assert harness.registry.pointers.previous("digits", "production").version == 2
        assert harness.roll_back(second, 4, admin="guard").version == 2

    def test_a_service_returns_once_until_a_person_promotes(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        two = harness.publish("two")
        second = harness.release(two, predecessor=1)
        harness.roll_back(first, 3, admin="guard")
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(second, 4, admin="guard")
        with refused(Reason.ROLLBACK_TARGET):
            harness.registry.pointers.previous("digits", "production")
        harness.roll_back(second, 4)
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(first, 5, admin="guard")
        harness.release(two, predecessor=4)
        assert harness.roll_back(first, 6, admin="guard").version == 1

    def test_what_an_alias_would_return_to(self, harness: RegistryHarness) -> None:
        def earlier() -> list[tuple[str, int, int]]:
            found = harness.registry.snapshot(earlier=True).live
            sequences = (Pointer.decode(item_pointer(item.bundle)).sequence for item in found)
            return [
                (item.alias, item.version, at) for item, at in zip(found, sequences, strict=True)
            ]

        first = harness.release(harness.publish("one"))
        assert earlier() == []
        two = harness.publish("two")
        harness.release(two, predecessor=1)
        assert earlier() == [("production", 1, 1)]
        harness.release(two, predecessor=2)
        assert earlier() == [("production", 1, 1)]
        harness.roll_back(first, 4)
        assert earlier() == [("production", 2, 3)]

    def test_a_service_has_nothing_to_return_to(self, harness: RegistryHarness) -> None:
        harness.release(harness.publish("one"))
        with refused(Reason.ROLLBACK_TARGET):
            harness.registry.pointers.previous("digits", "production")
        with refused(Reason.ALIAS_UNKNOWN):
            harness.registry.pointers.previous("digits", "canary")

    def test_a_service_is_held_to_the_same_as_an_admin(self, harness: RegistryHarness) -> None:
        one = harness.publish("one")
        first = harness.release(one)
        harness.release(harness.publish("two"), predecessor=1)
        harness.revoke(one)
        with refused(Reason.VERSION_REVOKED):
            harness.roll_back(first, 3, admin="guard")

    def test_a_service_promotes_nothing(self, harness: RegistryHarness) -> None:
        proposal = harness.approve(harness.propose(harness.publish("one")), "anna", "arne")
        with refused(Reason.ROLE_TOO_LOW):
            harness.promote(proposal, admin="guard")

    def test_a_service_returns_what_health_names(self, harness: RegistryHarness) -> None:
        limits = HealthLimits(60, 100, error_percent=5)
        harness.accept(health=HealthRules({"digits": {"canary": limits}}))
        first = harness.release(harness.publish("one"))
        harness.release(harness.publish("two"), predecessor=1)
        with refused(Reason.ROLE_TOO_LOW):
            harness.roll_back(first, 3, admin="guard")
        harness.accept(health=HealthRules({"digits": {"production": limits}}))
        assert harness.roll_back(first, 3, admin="guard").version == 1

    def test_by_an_approver(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        with refused(Reason.ROLE_TOO_LOW):
            harness.roll_back(first, 2, admin="anna")

    def test_survives_a_new_policy(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        harness.accept()
        harness.release(harness.publish("two"), predecessor=1)
        assert harness.roll_back(first, 3).version == 1

    def test_to_what_never_was(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(first, 2, returns_to="sha256:" + "0" * 64)

    def test_to_another_alias(self, harness: RegistryHarness) -> None:
        version = harness.publish("one")
        record = harness.approve(harness.propose(version, alias="canary"), "anna")
        canary = harness.promote(record)
        harness.release(version)
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(canary, 2, alias="production")

    def test_to_a_rollback(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        harness.release(harness.publish("two"), predecessor=1)
        back = harness.roll_back(first, 3)
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(back, 4)

    def test_to_another_version(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        two = harness.publish("two")
        with refused(Reason.ROLLBACK_TARGET):
            harness.roll_back(first, 2, version=2, digest=two.digest)

    def test_to_a_revoked_version(self, harness: RegistryHarness) -> None:
        one = harness.publish("one")
        first = harness.release(one)
        harness.release(harness.publish("two"), predecessor=1)
        harness.revoke(one)
        with refused(Reason.VERSION_REVOKED):
            harness.roll_back(first, 3)

    def test_stale(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        harness.release(harness.publish("two"), predecessor=1)
        harness.roll_back(first, 3)
        with refused(Reason.SEQUENCE_STALE):
            harness.roll_back(first, 3)

    def test_as_a_promotion(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        pointer = harness.return_to(first, 2)
        with refused(Reason.POINTER_INVALID):
            harness.registry.pointers.promote("otto", sign_statement(pointer, key("otto")).encode())

    def test_signed_by_another(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        pointer = harness.return_to(first, 2)
        with refused(Reason.SIGNER_MISMATCH):
            harness.registry.pointers.rollback(
                "otto", sign_statement(pointer, key("anna")).encode()
            )

    def test_keeps_what_was_said(self, harness: RegistryHarness) -> None:
        first = harness.release(harness.publish("one"))
        envelope = pointer_envelope(first)
        assert Pointer.decode(envelope.payload).reason == first.reason
        proposal = PointerBundle.decode(first.bundle).proposal
        assert Proposal.decode(proposal.payload).model == "digits"
