"""Older states that were approved once, states kept from the engine, time, and revocation.

Class 13 of the flaws that other registries had (the rollback and freeze attacks of TUF).
"""

from collections.abc import Callable
from datetime import timedelta

from inference.engine import version_contents
from inference.engine.engine import Engine, UpdateResult
from sealgate.reasons import Reason
from sealgate.trust import dsse
from sealgate.trust.keys import PrivateKey
from sealgate.trust.policy import Policy
from tests.support.fakes.registry import FRESH, GRACE, UncheckedRegistry
from tests.support.harness.engine_outcomes import (
    BETTER,
    FILES,
    PLACE,
    only,
    promoted,
    resolved,
    whole,
)

MINUTE = timedelta(minutes=1)

Start = Callable[[], Engine]


class TestReplay:
    def test_an_older_pointer_with_its_own_statement(
        self, registry: UncheckedRegistry, start: Start
    ) -> None:
        promoted(registry)
        old = (dict(registry.bundles), registry.freshness)
        promoted(registry, BETTER)
        engine = start()
        assert engine.update(registry, registry).loaded == (PLACE,)
        registry.bundles, registry.freshness = old
        for replayed in (engine, start()):
            assert whole(replayed.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 2

    def test_an_older_pointer_with_a_newer_statement(
        self, registry: UncheckedRegistry, start: Start
    ) -> None:
        """Even whoever holds the freshness key cannot bring an older pointer back."""
        promoted(registry)
        old = dict(registry.bundles)
        promoted(registry, BETTER)
        engine = start()
        engine.update(registry, registry)
        registry.bundles = old
        registry.refresh()
        for replayed in (engine, start()):
            assert only(replayed.update(registry, registry)) is Reason.SEQUENCE_STALE
        assert resolved(engine) == 2

    def test_an_older_pointer_under_the_newest_statement(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        old = dict(registry.bundles)
        promoted(registry, BETTER)
        registry.bundles = old
        assert only(engine.update(registry, registry)) is Reason.POINTER_STALE

    def test_a_withheld_pointer(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry)
        engine.update(registry, registry)
        promoted(registry, BETTER)
        registry.bundles = {}
        assert only(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 1
        registry.now += FRESH + GRACE
        assert resolved(engine) is Reason.POINTER_STALE

    def test_an_older_policy(self, registry: UncheckedRegistry, start: Start) -> None:
        promoted(registry)
        registry.add_policy()
        engine = start()
        engine.update(registry, registry)
        del registry.policies[1:]
        for replayed in (engine, start()):
            assert whole(replayed.update(registry, registry)) is Reason.POLICY_ROLLED_BACK
        assert resolved(engine) == 1

    def test_another_policy_of_the_same_number(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.policies.clear()
        registry.add_policy(days=31)
        assert whole(engine.update(registry, registry)) is Reason.POLICY_ROLLED_BACK

    def test_another_chain_that_is_longer(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.policies.clear()
        registry.add_policy(days=31)
        registry.add_policy()
        assert whole(engine.update(registry, registry)) is Reason.POLICY_ROLLED_BACK

    def test_a_policy_of_other_root_keys(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry)
        forged = dsse.sign(Policy.PAYLOAD_TYPE, registry.policies[0].payload, PrivateKey.generate())
        registry.policies[0] = forged
        assert whole(engine.update(registry, registry)) is Reason.THRESHOLD_NOT_MET
        assert engine.policy is None

    def test_no_statement(self, registry: UncheckedRegistry, engine: Engine) -> None:
        promoted(registry)
        registry.freshness = None
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) is Reason.MODEL_UNKNOWN


class TestTime:
    def test_a_stale_statement_loads_nothing(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        registry.now += FRESH
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE

    def test_what_is_live_goes_on_until_the_grace_ends(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += FRESH + GRACE - MINUTE
        assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
        assert resolved(engine) == 1
        registry.now += MINUTE
        assert resolved(engine) is Reason.POINTER_STALE
        assert resolved(engine, 1) is Reason.POINTER_STALE
        registry.refresh()
        assert engine.update(registry, registry) == UpdateResult()
        assert resolved(engine) == 1

    def test_what_fails_to_load_does_not_extend_the_old(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += FRESH - MINUTE
        promoted(registry, BETTER | {version_contents.GOLDEN: FILES[version_contents.GOLDEN]})
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH
        assert resolved(engine) == 1
        registry.now += GRACE + MINUTE
        registry.refresh()
        assert only(engine.update(registry, registry)) is Reason.GOLDEN_MISMATCH
        assert resolved(engine) is Reason.POINTER_STALE

    def test_a_clock_put_back_revives_nothing(
        self, registry: UncheckedRegistry, start: Start
    ) -> None:
        promoted(registry)
        early = registry.freshness
        registry.now += timedelta(days=2)
        registry.refresh()
        engine = start()
        engine.update(registry, registry)
        registry.now -= timedelta(days=2)
        registry.freshness = early
        assert whole(start().update(registry, registry)) is Reason.POINTER_STALE

    def test_an_expired_policy_stops_everything(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        promoted(registry)
        engine.update(registry, registry)
        registry.now += timedelta(days=30) - MINUTE
        registry.refresh()
        assert engine.update(registry, registry) == UpdateResult()
        assert resolved(engine) == 1
        registry.now += MINUTE
        assert whole(engine.update(registry, registry)) is Reason.POLICY_EXPIRED
        assert resolved(engine) is Reason.POLICY_EXPIRED


class TestRevocation:
    def test_a_revoked_version_stops_at_once_and_for_good(
        self, registry: UncheckedRegistry, start: Start
    ) -> None:
        made = promoted(registry)
        engine = start()
        engine.update(registry, registry)
        registry.revoke(made)
        assert only(engine.update(registry, registry)) is Reason.VERSION_REVOKED
        for number in (None, 1):
            assert resolved(engine, number) is Reason.VERSION_REVOKED
        # A newer statement that leaves it out, by whoever holds that key, changes nothing.
        registry.revoked.clear()
        registry.refresh()
        for again in (engine, start()):
            assert only(again.update(registry, registry)) is Reason.VERSION_REVOKED
            assert resolved(again, 1) is Reason.VERSION_REVOKED

    def test_a_revoked_version_is_not_returned_to(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        first = registry.publish(FILES)
        target = registry.promote(first)
        engine.update(registry, registry)
        promoted(registry, BETTER)
        engine.update(registry, registry)
        registry.revoke(first)
        assert engine.update(registry, registry) == UpdateResult()
        assert resolved(engine) == 2
        registry.roll_back(target)
        assert only(engine.update(registry, registry)) is Reason.VERSION_REVOKED
        assert resolved(engine) is Reason.VERSION_REVOKED

    def test_another_version_may_take_its_place(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        registry.revoke(promoted(registry))
        engine.update(registry, registry)
        promoted(registry, BETTER)
        assert engine.update(registry, registry).loaded == (PLACE,)
        assert resolved(engine) == 2
        assert resolved(engine, 1) is Reason.VERSION_NOT_LIVE


class TestRejection:
    def test_a_rejected_proposal_stops_at_once_and_for_good(
        self, registry: UncheckedRegistry, start: Start
    ) -> None:
        bundle = registry.promote(registry.publish(FILES))
        engine = start()
        engine.update(registry, registry)
        assert resolved(engine) == 1
        registry.reject(bundle)
        assert only(engine.update(registry, registry)) is Reason.PROPOSAL_REJECTED
        assert resolved(engine) is Reason.PROPOSAL_REJECTED
        # A newer statement that leaves it out, by whoever holds that key, changes nothing.
        registry.rejected.clear()
        registry.refresh()
        for again in (engine, start()):
            assert only(again.update(registry, registry)) is Reason.PROPOSAL_REJECTED
            assert isinstance(resolved(again), Reason)

    def test_nothing_returns_to_it(self, registry: UncheckedRegistry, engine: Engine) -> None:
        target = registry.promote(registry.publish(FILES))
        promoted(registry, BETTER)
        engine.update(registry, registry)
        registry.reject(target)
        assert engine.update(registry, registry) == UpdateResult()
        registry.roll_back(target)
        assert only(engine.update(registry, registry)) is Reason.PROPOSAL_REJECTED

    def test_the_same_version_under_a_new_proposal_answers(
        self, registry: UncheckedRegistry, engine: Engine
    ) -> None:
        version = registry.publish(FILES)
        registry.reject(registry.promote(version))
        engine.update(registry, registry)
        registry.now += MINUTE
        registry.promote(version)
        assert engine.update(registry, registry).loaded == (PLACE,)
        assert resolved(engine) == 1
