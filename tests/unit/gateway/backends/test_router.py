"""Versions are run, and shown, where their kind is run."""

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.backends import BackendRouter, open_generators
from gateway.config.document import GeneratorSettings
from inference.llm.terms import TERMS
from sealgate.settings import ConfigError
from sealgate.trust.statements import Manifest, Pointer
from tests.support.fakes.registry import UncheckedRegistry


class Noting:
    """Stands where versions run; it notes what it is asked."""

    def __init__(self, *, behind: bool = False) -> None:
        self.behind = behind
        self.shown: set[str] = set()
        self.loaded: list[Manifest] = []

    def show(self, snapshot: Any, source: Any) -> None:
        self.shown = {model for model, _ in snapshot.bundles}

    def load(self, cleared: Any, source: Any, loaded: Any) -> Any:
        self.loaded.append(cleared.manifest)
        return self

    def counts(self) -> list[Any]:
        return [self]


@pytest.fixture
def registry() -> UncheckedRegistry:
    registry = UncheckedRegistry()
    for model, name in (("digits", "model.json"), ("tiny", TERMS)):
        registry.promote(registry.publish({name: b"{}"}, model), model)
    return registry


def test_each_process_is_shown_its_own_kind(registry: UncheckedRegistry) -> None:
    rooms, generators = Noting(), Noting()
    BackendRouter(rooms, rooms, generators).show(registry, registry)
    assert (rooms.shown, generators.shown) == ({"digits"}, {"tiny"})


def test_each_version_is_loaded_by_its_own_kind() -> None:
    loader, generators = Noting(), Noting()
    kinds = BackendRouter(loader, None, generators)
    for name in ("model.json", TERMS):
        kinds.load(SimpleNamespace(manifest=Manifest.of({name: b"{}"})), None, None)
    assert [manifest.files[0].path for manifest in loader.loaded] == ["model.json"]
    assert [manifest.files[0].path for manifest in generators.loaded] == [TERMS]


def test_one_that_is_behind_is_enough() -> None:
    ahead, behind = Noting(), Noting(behind=True)
    assert BackendRouter(ahead, ahead, behind).behind
    assert BackendRouter(ahead, behind, ahead).behind
    assert not BackendRouter(ahead, None, ahead).behind
    assert BackendRouter(ahead, behind, ahead).counts() == [behind, ahead]
    assert BackendRouter(ahead, None, ahead).counts() == [ahead]


def test_without_a_place_there_is_no_generator() -> None:
    assert open_generators(GeneratorSettings()) is None


def test_a_door_that_is_open_to_others_is_told_by_its_section(tmp_path: Any) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=r"\[generator\]"):
        open_generators(GeneratorSettings(socket=tmp_path / "engine.sock"))


class NotingEngine:
    shown: frozenset[str] = frozenset()

    def show(self, snapshot: Any, source: Any) -> None:
        self.shown = frozenset(model for model, _ in snapshot.bundles)


def test_an_unreadable_manifest_does_not_block_other_models() -> None:
    registry = UncheckedRegistry()
    for model, name in (("digits", "model.json"), ("tiny", TERMS), ("lost", TERMS)):
        files = {name: b"{}", "model": model.encode()}
        bundle = registry.promote(registry.publish(files, model), model)
    lost = Pointer.decode(bundle.pointer.payload).digest
    rooms: Any = NotingEngine()
    generators: Any = NotingEngine()
    del registry.signed[lost]
    BackendRouter(rooms, rooms, generators).show(registry, registry)
    assert generators.shown == {"tiny"}
    assert "digits" in rooms.shown
