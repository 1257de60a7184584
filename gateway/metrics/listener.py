"""Joins what `[metrics]` asks for: the listener, and what it shows."""

from collections import Counter

from gateway.config import GatewayConfig
from gateway.drift import DriftWatch
from gateway.front_door import FrontDoor
from gateway.metrics.certificates import Certificates
from gateway.metrics.collector import GatewayCollector, Sources
from gateway.metrics.readiness import Readiness
from gateway.metrics.server import MetricsServer
from gateway.predict import Predict
from gateway.recorder import Recorder
from gateway.server_tls import ServerTls
from gateway.sessions.watch import SessionWatch
from gateway.store import Store
from inference.engine import Engine


class MetricsListener:
    """Shows a gateway's numbers and whether it is ready; nothing where `[metrics]` is silent.

    `ports` has the listener's, if there is one.
    """

    def __init__(
        self,
        config: GatewayConfig,
        engine: Engine,
        recorder: Recorder,
        store: Store,
        predict: Predict,
        door: FrontDoor,
        tls: ServerTls | None,
        http_answers: Counter[str],
        drift: DriftWatch,
        sessions: SessionWatch,
    ) -> None:
        """Raises: ConfigError where the address cannot be listened on."""
        self.readiness = Readiness(engine, recorder.fenced)
        self.ports: dict[str, int] = {}
        self._server: MetricsServer | None = None
        if not config.metrics.listen:
            return
        sources = Sources(
            engine,
            predict.unresolved,
            {"yes": door.recorded_refusals, "no": door.counted_refusals},
            http_answers,
            recorder,
            store.registry_size,
            drift.withdrawn,
            sessions.found,
            predict.session_actions,
            Certificates(tls, config),
            self.readiness,
        )
        self._server = MetricsServer(config.metrics, GatewayCollector(sources), self.readiness)
        self.ports["metrics"] = self._server.server_port

    def start(self) -> None:
        if self._server is not None:
            self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
