"""A version that comes to no end while it is loaded holds up no revocation of others."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.backends.local import LocalLoader
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.engine.version_contents import RESPONSE
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason
from tests.support.builders.models.hard_graphs import behind_loop
from tests.support.fakes.blocking_worker import until
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, only, promoted, resolved


@pytest.fixture
def engine(registry: UncheckedRegistry, tmp_path: Path) -> Iterator[Engine]:
    loader = LocalLoader(CpuSettings(cores=2), load_seconds=2.0)
    seen = RollbackGuardFile.open(tmp_path / "seen.json")
    yield Engine(registry.anchor, seen, registry.clock, loader)
    # Its run was told to end, and its thread is gone.
    until(lambda: all(thread.name != "load" for thread in threading.enumerate()))


def test_the_alias_keeps_its_version_until_that_is_revoked(
    registry: UncheckedRegistry, engine: Engine
) -> None:
    made = promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER | {RESPONSE: behind_loop(BETTER[RESPONSE])})
    for _ in range(2):
        assert only(engine.update(registry, registry)) is Reason.RUN_HUNG
        assert resolved(engine) == 1
    registry.revoke(made)
    engine.update(registry, registry)
    assert resolved(engine) is Reason.VERSION_REVOKED


def test_what_ends_ends_before_anything_is_loaded(
    registry: UncheckedRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = promoted(registry)
    engine.update(registry, registry)
    promoted(registry, BETTER)
    registry.revoke(made)
    found, read = [], registry.read

    def reading(digest: str) -> bytes:
        found.append(resolved(engine, 1))
        return read(digest)

    monkeypatch.setattr(registry, "read", reading)
    engine.update(registry, registry)
    assert set(found) == {Reason.VERSION_REVOKED}
    assert resolved(engine) == 2
