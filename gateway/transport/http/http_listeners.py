"""HTTP listeners of the section `[http]`: their sockets, TLS, connections and the HTTP gateway."""

import logging
import socket
import threading
import time
from collections import Counter

from gateway.admission import StreamLimiter
from gateway.auth import AuthInterceptor
from gateway.config.document import GatewayConfig
from gateway.services import InferenceService
from gateway.transport.connections import Bounds, subnet_of
from gateway.transport.http.connection import HttpConnection
from gateway.transport.http.gateway import DisconnectWatch, HttpGateway
from gateway.transport.http.peer import HttpTls
from gateway.transport.tls import ServerTls
from sealgate.settings import ConfigError, split_host_port

_log = logging.getLogger(__name__)

_CUT_SECONDS = 5.0
_LOOK_SECONDS = 0.25
_BACKLOG = 4096
# Connections beyond `connections`. Those that have been ended take a while to go.
_ROOM = 256


class HttpServer:
    """Binds its address at once, and answers between `start` and `stop`.

    Each connection holds a thread, so few may be open beyond `connections`. Once they are, the
    oldest without a known caller gives way to the newest. `gateway.transport.connections` lists the
    other limits that end connections.
    """

    def __init__(self, address: str, tls: HttpTls | None, bounds: Bounds) -> None:
        """Raises: ConfigError where the address cannot be listened on."""
        host, port = split_host_port(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(f"cannot listen on [http] {address}: {error.strerror}") from error
        self._socket.settimeout(_LOOK_SECONDS)
        self._tls = tls
        self._bounds = bounds
        self._looked = 0.0
        self._mutex = threading.Lock()
        self.open_connections: dict[HttpConnection, threading.Thread] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def start(self, gateway: HttpGateway) -> None:
        self._thread = threading.Thread(
            target=self._accept, args=(gateway,), name="http", daemon=True
        )
        self._thread.start()

    def finish(self) -> None:
        """Take nobody in any more; answer what is being asked."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        with self._mutex:
            connections = list(self.open_connections)
        for connection in connections:
            connection.finish()

    def stop(self, end: float) -> None:
        """End, after `finish`, what is left at `end` on the monotonic clock."""
        with self._mutex:
            left = dict(self.open_connections)
        for connection, thread in left.items():
            thread.join(max(0.0, end - time.monotonic()))
            connection.cut()
        # Threads whose connection was cut have yet to notice, and to record that.
        last = time.monotonic() + _CUT_SECONDS
        for thread in left.values():
            thread.join(max(0.0, last - time.monotonic()))

    def _accept(self, gateway: HttpGateway) -> None:
        while not self._stopping.is_set():
            self._end_surplus(time.monotonic())
            try:
                accepted, place = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                # Such as too many open files, of which some will be closed.
                _log.error("accepting HTTP connections: %s", error)
                self._stopping.wait(_LOOK_SECONDS)
                continue
            self._take(HttpConnection(accepted, place[0], self._tls, gateway), accepted)

    def _end_surplus(self, now: float) -> None:
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        with self._mutex:
            connections = list(self.open_connections)
        for connection in self._bounds.to_end(connections, now):
            connection.cut()

    def _has_room(self) -> bool:
        """Whether another connection may come; one without a known caller gives way to it: the
        oldest of whoever has most of them.
        """
        with self._mutex:
            connections = list(self.open_connections)
        most, count = self._bounds.connections, len(connections)
        if count >= most + 2 * _ROOM:
            return False
        left = [each for each in connections if not each.is_known and not each.is_cut]
        if count >= most + _ROOM and left:
            counts = Counter(subnet_of(each.address) for each in left)
            max(left, key=lambda each: (counts[subnet_of(each.address)], -each.since)).cut()
        return True

    def _take(self, connection: HttpConnection, accepted: socket.socket) -> None:
        thread = threading.Thread(
            target=self._run, args=(connection,), name="http-connection", daemon=True
        )
        if not self._has_room():
            accepted.close()
            return
        with self._mutex:
            self.open_connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:
            _log.error("no thread for an HTTP connection: %s", error)
            accepted.close()
            with self._mutex:
                del self.open_connections[connection]

    def _run(self, connection: HttpConnection) -> None:
        try:
            connection.run()
        finally:
            with self._mutex:
                del self.open_connections[connection]


class HttpListeners:
    """Speaks the protocol's REST form; nothing where `[http]` is silent.

    `ports` has each listener's, `answers` counts by status.
    """

    def __init__(self, config: GatewayConfig, tls: ServerTls | None) -> None:
        """Raises: ConfigError where an address cannot be bound or a certificate not be used."""
        self._limits = config.limits
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

    def serve(self, service: InferenceService, interceptor: AuthInterceptor) -> None:
        """Says whom requests are for, and who admits them; before `start`."""
        self.gateway = HttpGateway(
            service,
            interceptor,
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
