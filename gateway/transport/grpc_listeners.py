"""The gRPC listeners: TLS for callers with tokens, mutual TLS for callers with certificates.

By the native transport where that is chosen, else by grpcio. Both speak TLS 1.2 and 1.3 and nothing
older, and everything behind them is the same server.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection

import grpc

from gateway.admission import LoadShedder, Threads
from gateway.auth import AuthInterceptor
from gateway.calls.messages import Handler
from gateway.config.document import GatewayConfig
from gateway.config.sections import GatewayLimits
from gateway.transport.connections import Bounds, GrpcConnections, room_for_unknown
from gateway.transport.native import BurstHandler, NativeFront, UpstreamSocket, chosen, front_limits
from gateway.transport.native.upstream import PeerInterceptor
from gateway.transport.tls import ServerTls
from sealgate.reasons import Reason
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)

# Metadata is read before anyone is authenticated.
_METADATA_BYTES = 16 * 1024
# A connection that never says hello, or has nothing to ask any more, is closed.
HANDSHAKE_MS = 5_000
_IDLE_MS = 300_000
_UNREAD = 2
# The names that the native transport adds to a caller's metadata.
_OWN_METADATA_BYTES = 1024
# As many as `[listen]` and `[http]` have addresses at most.
_LISTENERS = 5


class GrpcTransport:
    """The gRPC listeners of a gateway and the `server` behind them. `ports` has each listener's.

    It listens when it is built, and answers from `start` on.
    """

    def __init__(
        self, config: GatewayConfig, tls: ServerTls | None, counted_refusals: Counter[str]
    ) -> None:
        """`counted_refusals` counts by reason what is refused for want of room.

        Raises: ConfigError where an address cannot be bound, there is no certificate to serve,
        or the native transport is asked for and not installed.
        """
        self._guard = _Guard(counted_refusals)
        self._is_started = False
        bounds = Bounds.of(config.limits)
        room = room_for_unknown(bounds, _LISTENERS)
        self._socket = UpstreamSocket() if chosen(config.listen) else None
        self._front: NativeFront | None = None
        if self._socket is None:
            shared = config.listen.share_ports
            self.server = new_server(config.limits, self._guard, room, shares_ports=shared)
            self.ports = listen(self.server, config, tls)
            self._connections = GrpcConnections(bounds, self._numbers)
            return
        try:
            peers = PeerInterceptor(self._socket.secret)
            self.server = new_server(config.limits, self._guard, room * _LISTENERS, peers)
            self._socket.listen(self.server)
            self._front = NativeFront(
                config.listen,
                tls,
                self._socket,
                bounds,
                front_limits(config.limits, room),
                self._count_refused,
            )
            peers.show(self._front)
        except BaseException:
            self._socket.remove()
            raise
        self.ports = self._front.ports

    @property
    def is_native(self) -> bool:
        return self._front is not None

    def note_caller(self, peer: str) -> None:
        """Say that a call of grpcio's has authenticated on the peer's connection."""
        if self._front is None:
            self._connections.note_caller(peer)

    def start(self, interceptor: AuthInterceptor, handler: BurstHandler) -> None:
        """`interceptor` guards each call of grpcio's; `handler` gets the native transport's bursts,
        which it guards itself.
        """
        self._guard.interceptor = interceptor
        if self._front is None:
            self._connections.start()
        self._start_server()
        if self._front is not None:
            self._front.start(handler)
        _log.info("gRPC is spoken by %s", "sealgate-front" if self.is_native else "grpcio")

    def stop(self, seconds: float | None) -> None:
        """Answer what is in progress, for so long at most, and end; at once with None."""
        if self._front is not None:
            self._front.drain()
            self._front.stop(seconds or 0.0)
        if not self._is_started:
            # grpcio frees the ports of a server alone that has run. This one offers no method.
            self._start_server()
        self.server.stop(seconds).wait()
        if self._front is None:
            self._connections.stop()
        if self._socket is not None:
            self._socket.remove()

    def _start_server(self) -> None:
        self.server.start()
        self._is_started = True

    def _numbers(self) -> Collection[int]:
        return self.ports.values()

    def _count_refused(self, count: int) -> None:
        self._guard.counted_refusals[Reason.QUEUE_FULL.name] += count


class _Guard(grpc.ServerInterceptor):
    """Passes each call to the auth interceptor. Until that is set, no method is offered."""

    def __init__(self, counted_refusals: Counter[str]) -> None:
        self.counted_refusals = counted_refusals
        self.interceptor: AuthInterceptor | None = None

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        if self.interceptor is None:
            return None
        return self.interceptor.intercept_service(continuation, handler_call_details)


def new_server(
    limits: GatewayLimits,
    guard: _Guard,
    room: int,
    peers: PeerInterceptor | None = None,
    *,
    shares_ports: bool = False,
) -> grpc.Server:
    """A server whose memory, connections and calls in flight are bounded. It does not listen yet.

    Connections beyond `connections` and `room` on a listener are closed at once, so that the
    process keeps file descriptors for its own work; which of the others are ended, because nobody
    authenticates on them, `gateway.transport.connections` says. Calls beyond `concurrent_calls` are
    refused with RESOURCE_EXHAUSTED, and inference long before: see
    `gateway.admission.overload`. With `peers` it is the one behind the native transport.
    """
    threads = Threads(limits.threads)
    load_shedder = LoadShedder(threads, limits.waiting_calls, guard.counted_refusals)
    return grpc.server(
        # gRPC asks of it what `Threads` has, though not by its stated type.
        threads,  # type: ignore[arg-type]
        interceptors=[load_shedder, *([peers] if peers else []), guard],
        maximum_concurrent_rpcs=limits.concurrent_calls,
        options=[
            # The auth interceptor says why it refuses a message that is too large; a far larger one
            # is not even read.
            ("grpc.max_receive_message_length", _UNREAD * limits.message_bytes),
            ("grpc.max_send_message_length", limits.message_bytes),
            # gRPC would unpack each of as many messages as come at once up to the limit (all of it,
            # before 1.84) and keep that until they are refused; `gateway.calls.messages`
            # keeps nothing.
            ("grpc.per_message_decompression", 0),
            ("grpc.max_allowed_incoming_connections", limits.connections + room),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            ("grpc.max_concurrent_streams", limits.streams_per_connection),
            ("grpc.max_metadata_size", _METADATA_BYTES + (_OWN_METADATA_BYTES if peers else 0)),
            # Two gateways must not share a port unnoticed.
            ("grpc.so_reuseport", int(shares_ports)),
        ],
    )


def listen(server: grpc.Server, config: GatewayConfig, tls: ServerTls | None) -> dict[str, int]:
    """Binds every configured address; returns the port of each listener by its name.

    Raises: ConfigError where an address cannot be bound, or there is no certificate to serve.
    """
    ports: dict[str, int] = {}
    for name, address in (("tls", config.listen.tls), ("mutual", config.listen.mutual)):
        if not address:
            continue
        if tls is None:
            raise ConfigError("[tls] is incomplete")
        ports[name] = _bind(server, address, tls.credentials(mutual=name == "mutual"))
    if config.listen.insecure:
        _log.warning("serving %s WITHOUT TLS, on loopback only", config.listen.insecure)
        ports["insecure"] = _bind(server, config.listen.insecure, None)
    return ports


def _bind(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: is another gateway using it?") from error
