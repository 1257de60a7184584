"""The server's sockets: TLS for callers with tokens, mutual TLS for callers with certificates.

gRPC's TLS speaks 1.2 and 1.3 and nothing older.
"""

import logging

import grpc

from gateway.admission.load_shedder import LoadShedder, Threads
from gateway.auth.interceptor import AuthInterceptor
from gateway.config.document import GatewayConfig
from gateway.config.sections import GatewayLimits
from gateway.transport.tls import ServerTls
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)

# Metadata is read before anyone is authenticated.
_METADATA_BYTES = 16 * 1024
# A connection that never says hello, or has nothing to ask any more, is closed.
_HANDSHAKE_MS = 5_000
_IDLE_MS = 300_000
_UNREAD = 2


def new_server(limits: GatewayLimits, interceptor: AuthInterceptor, room: int) -> grpc.Server:
    """A server whose memory, connections and calls in flight are bounded. It does not listen yet.

    Connections beyond `connections` and `room` on a listener are closed at once, so that the
    process keeps file descriptors for its own work; which of the others are ended, because nobody
    authenticates on them, `gateway.transport.connections` says. Calls beyond `concurrent_calls` are
    refused with RESOURCE_EXHAUSTED, and inference long before: see
    `gateway.admission.load_shedder`.
    """
    threads = Threads(limits.threads)
    load_shedder = LoadShedder(threads, limits.waiting_calls, interceptor.counted_refusals)
    return grpc.server(
        # gRPC asks of it what `Threads` has, though not by its stated type.
        threads,  # type: ignore[arg-type]
        interceptors=[load_shedder, interceptor],
        maximum_concurrent_rpcs=limits.concurrent_calls,
        options=[
            # The auth interceptor says why it refuses a message that is too large; a far larger one
            # is not even read.
            ("grpc.max_receive_message_length", _UNREAD * limits.message_bytes),
            ("grpc.max_send_message_length", limits.message_bytes),
            # gRPC would unpack each of as many messages as come at once up to the limit (all of it,
            # before 1.84) and keep that until they are refused; `gateway.calls.compression`
            # keeps nothing.
            ("grpc.per_message_decompression", 0),
            ("grpc.max_allowed_incoming_connections", limits.connections + room),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            ("grpc.max_concurrent_streams", limits.streams_per_connection),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            # Two gateways must not share a port unnoticed.
            ("grpc.so_reuseport", 0),
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
