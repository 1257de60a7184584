"""Versions that an engine keeps ready and does not load again."""

import copy
from collections.abc import Callable
from dataclasses import replace

from inference.engine.engine import Engine, UpdateResult
from sealgate.reasons import Reason
from sealgate.trust.statements import PointerBundle
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles
from tests.support.fakes.registry import UncheckedRegistry

MODELS = [Perceptron.random(seed) for seed in range(3)]
FILES = [VersionFiles.of(model) for model in MODELS]
PLACE = ("digits", "production")


class Unwilling:
    """A source that must not be asked for a file."""

    def __init__(self, registry: UncheckedRegistry) -> None:
        self.signed_manifest = registry.signed_manifest

    def read(self, digest: str) -> bytes:
        raise AssertionError(f"{digest} was read again")


def test_an_unmoved_pointer_is_not_loaded_again(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    before = engine.resolve("digits")
    registry.refresh()
    assert engine.update(registry, Unwilling(registry)) == UpdateResult()
    assert engine.resolve("digits") == before


def test_a_return_to_the_version_before_loads_nothing(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    target = registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    registry.promote(registry.publish(FILES[1].encode()))
    assert engine.update(registry, registry).loaded == (PLACE,)
    registry.roll_back(target)
    assert engine.update(registry, Unwilling(registry)).loaded == (PLACE,)
    live = engine.resolve("digits")
    assert (live.version, live.sequence) == (1, 3)


def moved_before_it_started(
    registry: UncheckedRegistry, start: Callable[[], Engine]
) -> tuple[Engine, PointerBundle]:
    """An engine that starts with version 2 live, and the pointer before, to version 1."""
    target = registry.promote(registry.publish(FILES[0].encode()))
    registry.promote(registry.publish(FILES[1].encode()))
    engine = start()
    engine.update(registry, registry)
    return engine, target


def at(registry: UncheckedRegistry, bundle: PointerBundle) -> UncheckedRegistry:
    """The registry as a snapshot in which the alias has that pointer."""
    before = copy.copy(registry)
    before.bundles = {PLACE: bundle}
    return before


def test_what_an_alias_returns_to_is_loaded_though_the_engine_started_later(
    registry: UncheckedRegistry, start: Callable[[], Engine]
) -> None:
    engine, target = moved_before_it_started(registry, start)
    engine.warm(PLACE, at(registry, target), registry)
    with refused(Reason.VERSION_NOT_LIVE):
        engine.resolve("digits", 1)
    assert engine.resolve("digits").version == 2
    registry.roll_back(target)
    assert engine.update(registry, Unwilling(registry)).loaded == (PLACE,)
    assert engine.resolve("digits").version == 1


def test_what_is_revoked_is_not_kept_ready(
    registry: UncheckedRegistry, start: Callable[[], Engine]
) -> None:
    engine, target = moved_before_it_started(registry, start)
    registry.revoke(registry.versions["digits", 1])
    with refused(Reason.VERSION_REVOKED):
        engine.warm(PLACE, at(registry, target), Unwilling(registry))


def test_nothing_is_kept_ready_that_nobody_approved_for_the_alias(
    registry: UncheckedRegistry, start: Callable[[], Engine]
) -> None:
    engine, _ = moved_before_it_started(registry, start)
    third = registry.publish(FILES[2].encode())
    elsewhere = registry.promote(third, alias="canary", approvers=("anna",))
    with refused(Reason.POINTER_INVALID):
        engine.warm(PLACE, at(registry, elsewhere), Unwilling(registry))
    alone = replace(elsewhere, approvals=())
    with refused(Reason.POINTER_INVALID):
        engine.warm(PLACE, at(registry, alone), Unwilling(registry))
    assert engine.previous == {}


def test_an_engine_that_saw_the_move_loads_nothing_more(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    target = registry.promote(registry.publish(FILES[0].encode()))
    engine.update(registry, registry)
    registry.promote(registry.publish(FILES[1].encode()))
    engine.update(registry, registry)
    engine.warm(PLACE, at(registry, target), Unwilling(registry))
    engine.warm(("digits", "canary"), at(registry, target), Unwilling(registry))
    engine.close()
    engine.warm(PLACE, at(registry, target), Unwilling(registry))


def test_only_what_may_be_needed_stays_loaded(registry: UncheckedRegistry, engine: Engine) -> None:
    made = [registry.publish(files.encode()) for files in FILES]
    for version in made:
        registry.promote(version)
        engine.update(registry, registry)
    assert engine.ready_versions.keys() == {made[1].digest, made[2].digest}
