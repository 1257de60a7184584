"""Where a gateway had a generator, one pointer whose manifest could not be read kept every process
from being shown anything: no other model was promoted or rolled back any more.
"""

from typing import Any

from gateway.backends.router import ByKind
from inference.generation import TERMS
from sealgate.trust.statements import Pointer
from tests.support.paper_registry import PaperRegistry


class Noting:
    shown: frozenset[str] = frozenset()

    def show(self, snapshot: Any, source: Any) -> None:
        self.shown = frozenset(model for model, _ in snapshot.bundles)


def test_others_are_shown_all_the_same() -> None:
    registry = PaperRegistry()
    for model, name in (("digits", "model.json"), ("tiny", TERMS), ("lost", TERMS)):
        files = {name: b"{}", "model": model.encode()}
        bundle = registry.promote(registry.publish(files, model), model)
    lost = Pointer.decode(bundle.pointer.payload).digest
    rooms: Any = Noting()
    generators: Any = Noting()
    del registry.signed[lost]
    ByKind(rooms, rooms, generators).show(registry, registry)
    assert generators.shown == {"tiny"}
    assert "digits" in rooms.shown
