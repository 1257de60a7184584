"""Joins what `[metrics]` asks for: the listener, and what it shows."""

from collections import Counter

from gateway.auth.interceptor import AuthInterceptor
from gateway.config.document import GatewayConfig
from gateway.observability.certificates import Certificates
from gateway.observability.collector import GatewayCollector, Sources
from gateway.observability.readiness import GatewayReadiness
from gateway.observability.server import MetricsServer
from gateway.pipeline.infer import InferencePipeline
from gateway.recording.recorder import AuditRecorder
from gateway.recording.store import GatewayStore
from gateway.screening.drift import DriftWatch
from gateway.sessions.watch import SessionWatch
from gateway.transport.tls import ServerTls
from inference.engine.engine import Engine


class MetricsListener:
    """Shows a gateway's numbers and whether it is ready; nothing where `[metrics]` is silent.

    `ports` has the listener's, if there is one.
    """

    def __init__(
        self,
        config: GatewayConfig,
        engine: Engine,
        recorder: AuditRecorder,
        store: GatewayStore,
        predict: InferencePipeline,
        interceptor: AuthInterceptor,
        tls: ServerTls | None,
        http_answers: Counter[str],
        drift: DriftWatch,
        sessions: SessionWatch,
    ) -> None:
        """Raises: ConfigError where the address cannot be listened on."""
        self.readiness = GatewayReadiness(engine, recorder.fenced)
        self.ports: dict[str, int] = {}
        self._server: MetricsServer | None = None
        if not config.metrics.listen:
            return
        sources = Sources(
            engine,
            predict.unresolved,
            {"yes": interceptor.recorded_refusals, "no": interceptor.counted_refusals},
            http_answers,
            recorder,
            store.registry_size,
            drift.withdrawn,
            sessions.found,
            predict.observation.session_actions,
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
