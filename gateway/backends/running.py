"""Where versions run, by the configuration: here, in engines of other processes, in a foreign
server; language models in their own process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.backends.remote import open_rooms
from gateway.backends.router import BackendRouter, open_generators
from gateway.config.document import GatewayConfig
from inference.backends.local import LocalLoader
from inference.backends.oip.loader import OipLoader, open_foreign
from inference.backends.remote.engine_pool import EnginePool
from inference.batching.limits import OperatorBounds
from inference.engine.engine import Engine, TrustAnchor
from inference.engine.rollback_guard import RollbackGuardFile
from inference.runtime.cpu import CpuSettings
from sealgate.trust.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Backends:
    """The engine, and what is shown the registry's state before it: None where that is nothing."""

    engine: Engine
    shown: BackendRouter | EnginePool | None
    foreign: OipLoader | None

    @classmethod
    def open(
        cls,
        config: GatewayConfig,
        roots: Mapping[str, PublicKey],
        clock: Callable[[], datetime],
    ) -> "Backends":
        """Raises: ConfigError."""
        rooms = open_rooms(config.all_engines)
        cpu = CpuSettings.detect(config.runtime.threads_per_run)
        bounds = OperatorBounds(config.batching)
        foreign = open_foreign(config.foreign_engine, cpu, bounds)
        loader = rooms or foreign or LocalLoader(cpu, bounds, config.runtime)
        generators = open_generators(config.generator)
        by_kind = BackendRouter(loader, rooms, generators) if generators is not None else None
        anchor = TrustAnchor(roots, config.trust.threshold)
        seen = RollbackGuardFile.open(config.trust.seen)
        return cls(Engine(anchor, seen, clock, by_kind or loader), by_kind or rooms, foreign)

    def close(self) -> None:
        """Part from the other processes."""
        for elsewhere in (self.shown, self.foreign):
            if elsewhere is not None:
                elsewhere.close()
