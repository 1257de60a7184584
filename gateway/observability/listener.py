"""Joins what `[metrics]` asks for: the listener, and what it shows."""

from collections import Counter

from gateway.auth.interceptor import FrontDoor
from gateway.config.document import GatewayConfig
from gateway.observability.certificates import Certificates
from gateway.observability.collector import GatewayCollector, Sources
from gateway.observability.readiness import Readiness
from gateway.observability.server import MetricsServer
from gateway.pipeline.infer import Predict
from gateway.recording.recorder import Recorder
from gateway.recording.store import Store
from gateway.screening.drift import DriftWatch
from gateway.sessions.watch import SessionWatch
from gateway.transport.tls import ServerTls
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
