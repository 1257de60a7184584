"""What keeps the engine in step with the registry outlives what it meets."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from gateway.sync.registry_sync import RegistrySync
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused


class Registry:
    """Renews statements, and has nothing else to say."""

    renewed = 0
    policies = SimpleNamespace(
        chain=lambda: SimpleNamespace(newest=SimpleNamespace(expires="2999-01-01T00:00:00Z"))
    )

    def changes(self) -> Any:
        return SimpleNamespace()

    def refresh(self) -> None:
        self.renewed += 1

    def change_token(self) -> object:
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE)


class Room:
    """An engine that is asked whether it is there, and answers what nobody expected."""

    behind = False

    def probe(self) -> None:
        raise RuntimeError("what nobody expected")


def test_statements_are_renewed_whatever_an_engine_answers() -> None:
    registry: Any = Registry()
    engine: Any = SimpleNamespace(expired="")
    answers: Any = SimpleNamespace(size=0)
    rooms: Any = Room()
    watch = RegistrySync(registry, engine, answers, Counter(), 60.0, lambda: None, rooms)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        watch.start()
    assert registry.renewed == 1
