"""An engine that cannot save what it has seen: nothing moves, and what ends, ends."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from inference.engine.engine import Engine
from sealgate.reasons import Reason
from tests.support.fakes.registry import FRESH, GRACE, UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, FILES, PLACE, promoted, resolved, whole

Start = Callable[[], Engine]


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """Once it is a folder, nothing can be saved."""
    return tmp_path / "seen.json"


def barred(block: Path) -> None:
    block.unlink()
    block.mkdir()


def test_a_revoked_version_stops_all_the_same(
    registry: UncheckedRegistry, engine: Engine, block: Path
) -> None:
    made = promoted(registry)
    engine.update(registry, registry)
    barred(block)
    registry.revoke(made)
    assert whole(engine.update(registry, registry)) is Reason.INTERNAL
    for number in (None, 1):
        assert resolved(engine, number) is Reason.VERSION_REVOKED
    # Nor does it come back by a statement that leaves it out.
    registry.revoked.clear()
    registry.refresh()
    engine.update(registry, registry)
    assert resolved(engine) is Reason.VERSION_REVOKED


def test_a_rejected_proposal_stops_all_the_same(
    registry: UncheckedRegistry, engine: Engine, block: Path
) -> None:
    bundle = registry.promote(registry.publish(FILES))
    engine.update(registry, registry)
    barred(block)
    registry.reject(bundle)
    assert whole(engine.update(registry, registry)) is Reason.INTERNAL
    assert resolved(engine) is Reason.PROPOSAL_REJECTED


def test_a_new_policy_applies_all_the_same(
    registry: UncheckedRegistry, engine: Engine, block: Path
) -> None:
    promoted(registry)
    engine.update(registry, registry)
    barred(block)
    registry.add_policy()
    assert whole(engine.update(registry, registry)) is Reason.INTERNAL
    assert engine.policy is not None
    assert engine.policy.version == 2
    assert resolved(engine) == 1
    del registry.policies[1:]
    assert whole(engine.update(registry, registry)) is Reason.POLICY_ROLLED_BACK


def test_an_alias_moves_once_it_can_be_saved(
    registry: UncheckedRegistry, engine: Engine, block: Path
) -> None:
    promoted(registry)
    engine.update(registry, registry)
    barred(block)
    promoted(registry, BETTER)
    assert whole(engine.update(registry, registry)) is Reason.INTERNAL
    assert resolved(engine) == 1
    block.rmdir()
    assert engine.update(registry, registry).loaded == (PLACE,)
    assert resolved(engine) == 2


def test_nothing_is_covered_for_longer(
    registry: UncheckedRegistry, engine: Engine, block: Path
) -> None:
    promoted(registry)
    engine.update(registry, registry)
    barred(block)
    registry.now += FRESH - timedelta(minutes=1)
    registry.refresh()
    assert whole(engine.update(registry, registry)) is Reason.INTERNAL
    registry.now += GRACE + timedelta(minutes=1)
    assert resolved(engine) is Reason.POINTER_STALE
