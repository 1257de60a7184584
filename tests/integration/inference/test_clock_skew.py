"""Clocks that differ: the signer of statements may be five minutes ahead of the engine, no more."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from inference.engine.engine import Engine
from sealgate.reasons import Reason
from tests.support.fakes.registry import FRESH, GRACE, UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, PLACE, promoted, resolved, whole

MINUTE = timedelta(minutes=1)

Start = Callable[[], Engine]


def test_an_engine_a_little_behind_believes_what_was_just_signed(
    registry: UncheckedRegistry, start: Start
) -> None:
    promoted(registry)
    engine = start()
    registry.now -= 4 * MINUTE
    assert engine.update(registry, registry).loaded == (PLACE,)
    assert resolved(engine) == 1


def test_an_engine_far_behind_takes_up_nothing_and_keeps_what_it_has(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER)
    registry.now += 10 * MINUTE
    registry.refresh()
    registry.now -= 20 * MINUTE
    assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
    assert resolved(engine) == 1
    # Its clock is put right.
    registry.now += 20 * MINUTE
    assert engine.update(registry, registry).loaded == (PLACE,)
    assert resolved(engine) == 2


@pytest.mark.parametrize("ahead", [FRESH + MINUTE, GRACE - MINUTE])
def test_an_engine_ahead_takes_up_nothing_until_its_clock_is_right(
    registry: UncheckedRegistry, engine: Engine, ahead: timedelta
) -> None:
    promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER)
    registry.now += ahead
    assert whole(engine.update(registry, registry)) is Reason.POINTER_STALE
    assert resolved(engine) == 1
    registry.now -= ahead
    assert engine.update(registry, registry).loaded == (PLACE,)
    assert resolved(engine) == 2
