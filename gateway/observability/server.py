"""HTTP listener: `/metrics` for Prometheus, `/healthz` and `/readyz` for supervisors."""

import threading
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inference.engine.engine import Engine
from sealgate.bounded_http import SECONDS, BoundedServer
from sealgate.reasons import Reason
from sealgate.settings import ConfigError, MetricsSettings

_LOOK_SECONDS = 0.1
_TEXT = "text/plain; charset=utf-8"


class Readiness(Protocol):
    def obstacle(self) -> str:
        """Why it is not ready, in a word; empty where it is."""
        ...


class MetricsServer(BoundedServer):
    """Binds its address at once, and answers between `start` and `stop`."""

    def __init__(
        self, settings: MetricsSettings, collector: Collector, readiness: Readiness
    ) -> None:
        """Raises: ConfigError where the address cannot be listened on."""
        self.readiness = readiness
        # Its own: the library's global one also has what others put there.
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(collector)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_LOOK_SECONDS,), name="metrics", daemon=True
        )
        try:
            super().__init__(settings.host, settings.port, _Handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on [metrics] listen = {settings.listen!r}: {error.strerror}"
            ) from error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = SECONDS
    server_version = "sealgate"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("accept", ""))
            self._send(HTTPStatus.OK, encode(self.server.registry), kind)
        elif self.path == "/healthz":
            # Whoever answers this lives; what hinders it restarting would not mend.
            self._send(HTTPStatus.OK, b"ok\n")
        elif self.path == "/readyz":
            obstacle = self.server.readiness.obstacle()
            status = HTTPStatus.SERVICE_UNAVAILABLE if obstacle else HTTPStatus.OK
            self._send(status, f"{obstacle or 'ready'}\n".encode())
        else:
            self._send(HTTPStatus.NOT_FOUND, b"here are /metrics, /healthz and /readyz\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: HTTPStatus, body: bytes, kind: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Who looks is no news."""


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
