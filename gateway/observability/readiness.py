"""Readiness of a gateway or an engine, and their listener of metrics."""

import threading
from collections.abc import Callable
from enum import Enum

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inference.engine import Engine
from sealgate.network.metrics_listener import MetricsListener
from sealgate.reasons import Reason
from sealgate.settings import MetricsSettings


def metrics_listener(
    settings: MetricsSettings, collector: Collector, obstacle: Callable[[], str]
) -> MetricsListener:
    """The listener of what a collector yields. Raises: ConfigError, as `MetricsListener`."""
    # Its own: the library's global one also has what others put there.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    def numbers(accept: str) -> tuple[bytes, str]:
        encode, kind = choose_encoder(accept)
        return encode(registry), kind

    return MetricsListener(settings, numbers, obstacle)


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class GatewayReadiness:
    """Ready is who serves under a policy in force, or in its grace, and may still write its log.

    Which versions are live is not looked at: a gateway without any is ready for its first.
    """

    def __init__(self, engine: Engine, fenced: threading.Event) -> None:
        self._engine = engine
        self._fenced = fenced
        self.phase = Phase.STARTING

    def obstacle(self) -> str:
        """Why it is not ready: its phase or a reason's name; empty where it is."""
        if self.phase is not Phase.SERVING:
            return self.phase.value
        if self._fenced.is_set():
            return Reason.LOG_FENCED.name
        return Reason.POLICY_EXPIRED.name if self._engine.is_over else ""
