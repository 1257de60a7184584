"""Joins what `[http]` asks for: the addresses, TLS as the gRPC listeners have it, and the
gateway.
"""

import logging
import time
from collections import Counter

from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.interceptor import AuthInterceptor
from gateway.config.document import GatewayConfig
from gateway.services.inference import InferenceService
from gateway.transport.connections import Bounds
from gateway.transport.http.absence import DisconnectWatch
from gateway.transport.http.gateway import HttpGateway
from gateway.transport.http.server import HttpServer
from gateway.transport.http.tls import HttpTls
from gateway.transport.tls import ServerTls

_log = logging.getLogger(__name__)


class HttpListeners:
    """Speaks the protocol's REST form; nothing where `[http]` is silent.

    `ports` has each listener's, `answers` counts by status.
    """

    def __init__(
        self, config: GatewayConfig, tls: ServerTls | None, interceptor: AuthInterceptor
    ) -> None:
        """Raises: ConfigError where an address cannot be bound or a certificate not be used."""
        self._limits = config.limits
        self.interceptor = interceptor
        self.gateway: HttpGateway | None = None
        # Of its own, so that neither listener takes the other's places.
        self.stream_limiter = StreamLimiter(config.limits)
        self._absence = DisconnectWatch()
        self.servers: dict[str, HttpServer] = {}
        self._end = 0.0
        self.answers: Counter[str] = Counter()
        bounds = Bounds.of(config.limits)
        if config.http.tls and tls is not None:
            self.servers["http"] = HttpServer(config.http.tls, HttpTls(tls), bounds)
        if config.http.insecure:
            _log.warning("serving %s WITHOUT TLS, on loopback only", config.http.insecure)
            self.servers["http-insecure"] = HttpServer(config.http.insecure, None, bounds)
        self.ports = {name: server.port for name, server in self.servers.items()}

    def serve(self, service: InferenceService) -> None:
        """Says whom requests are for; before `start`."""
        self.gateway = HttpGateway(
            service,
            self.interceptor,
            self.stream_limiter,
            self._absence,
            self._limits,
            self.answers,
        )

    def start(self) -> None:
        if not self.servers or self.gateway is None:
            return
        self.stream_limiter.start()
        self._absence.start()
        for server in self.servers.values():
            server.start(self.gateway)

    def finish(self) -> None:
        """Begin to drain: no new request is taken, and what is being asked is answered."""
        self._end = time.monotonic() + self._limits.drain
        for server in self.servers.values():
            server.finish()

    def stop(self) -> None:
        """End, after `finish`, once that has taken `[limits] drain` seconds at most."""
        for server in self.servers.values():
            server.stop(self._end)
        self.stream_limiter.stop()
        self._absence.stop()
