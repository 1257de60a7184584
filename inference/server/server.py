"""Engine server: the gRPC listener and the checks that every call passes.

1. A method without a rule is refused (RULE_MISSING).
2. With TLS, the caller presents one of the pinned certificates (CERTIFICATE_UNPINNED). With a unix
   socket, file permissions admit the owner only.
3. The message has arrived in time, and is parsed only after the sender is known.
4. Every exception of the handler becomes a reason from the fixed list.
"""

import logging
import resource
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import closing
from typing import Any

import grpc
from cryptography import x509
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from inference.observability import tracing
from inference.server import unix_sockets
from inference.server.config import EngineConfig, EngineLimits
from inference.server.host import EngineHost
from inference.server.services import EngineInferenceService, EngineOwnService
from inference.server.tls import CertificateReloader
from inference.server.wait_limits import WaitLimiter
from sealgate.oip import grpc_service_pb2
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import forget_frames, grpc_status, refusal_for
from sealgate.settings import ConfigError
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import add_EngineServiceServicer_to_server

_log = logging.getLogger(__name__)

SERVICES = (
    grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    engine_pb2.DESCRIPTOR.services_by_name["EngineService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
"""Every service that the engine offers."""

ALLOWED = frozenset(
    f"/{service}/{method}"
    for service, methods in {
        "inference.GRPCInferenceService": (
            "ServerLive",
            "ServerReady",
            "ServerMetadata",
            "ModelReady",
            "ModelInfer",
            "ModelStreamInfer",
            "RepositoryIndex",
            "RepositoryModelLoad",
            "RepositoryModelUnload",
        ),
        "sealgate.v1.EngineService": ("GetCounts", "GetCosts", "InferBurst"),
        # `Watch` would hold a thread for ever.
        "grpc.health.v1.Health": ("Check", "List"),
        "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
    }.items()
    for method in methods
)
"""The methods that a gateway may call."""

_METADATA_BYTES = 16 * 1024
_HANDSHAKE_MS = 5_000
_HANDSHAKES = 1_024
# File descriptors that are left to all else.
_OWN_FILES = 1_024
_PING_MS = 1_000
_PEER = "x509_pem_cert"


class AccessInterceptor(grpc.ServerInterceptor):
    """Checks every call before its handler. `pinned` returns the callers' certificates; None on a
    unix socket.
    """

    def __init__(
        self, pinned: Callable[[], Container[x509.Certificate]] | None, patience: WaitLimiter
    ) -> None:
        self._pinned = pinned
        self._patience = patience

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler), None, handler.response_serializer
            )
        # As a stream: else gRPC itself would wait for the message, for ever.
        return grpc.stream_unary_rpc_method_handler(
            self._single(method, handler), None, handler.response_serializer
        )

    def check(self, method: str, peer: Mapping[str, Any]) -> None:
        """Steps 1 and 2; `peer` is gRPC's authentication context. Raises SealgateError."""
        # 1.
        if method not in ALLOWED:
            raise SealgateError(Reason.RULE_MISSING, method)
        # 2.
        if self._pinned is not None:
            shown = _certificate(peer.get(_PEER, ()))
            if shown is None or shown not in self._pinned():
                raise SealgateError(Reason.CERTIFICATE_UNPINNED)

    def _messages(
        self, messages: Iterator[bytes], peer: Mapping[str, Any], context: grpc.ServicerContext
    ) -> Generator[bytes, None, None]:
        return self._patience.messages(messages, b"".join(peer.get(_PEER, ())), context)

    def _single(self, method: str, handler: Any) -> Callable[..., Any]:
        def guarded(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            try:
                peer = context.auth_context()
                self.check(method, peer)
                with closing(self._messages(messages, peer, context)) as received:
                    message = next(received, None)
                if message is None:
                    raise SealgateError(Reason.DEADLINE_TOO_SHORT, "no message has come")
                with tracing.call(method, context.invocation_metadata):
                    return handler.unary_unary(_parsed(handler, message), context)
            except Exception as error:
                _abort(method, context, error)

        return guarded

    def _stream(self, method: str, handler: Any) -> Callable[..., Any]:
        def answered(
            messages: Iterator[bytes], context: grpc.ServicerContext
        ) -> Generator[Any, None, None]:
            try:
                peer = context.auth_context()
                self.check(method, peer)
                if not handler.request_streaming:
                    raise SealgateError(Reason.RULE_MISSING, method)
                with closing(self._messages(messages, peer, context)) as received:
                    requests = (_parsed(handler, message) for message in received)
                    yield from handler.stream_stream(requests, context)
            except Exception as error:
                _abort(method, context, error)

        def guarded(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            answers = answered(requests, context)
            yield from tracing.stream(method, context.invocation_metadata, answers)

        return guarded


class EngineServer:
    """The gRPC server of an engine; `start` begins to answer."""

    def __init__(
        self,
        config: EngineConfig,
        host: EngineHost,
        service: GRPCInferenceServiceServicer | None = None,
    ) -> None:
        """Binds the listener; `service` answers in the place of the one that runs graphs.

        Raises: ConfigError; SOCKET_EXPOSED.
        """
        limits = config.limits
        tls = CertificateReloader(config.tls) if config.listen.tls else None
        self.host = host
        self._drain = limits.drain
        self._patience = WaitLimiter(limits.threads, limits.deadline)
        guard = AccessInterceptor(None if tls is None else lambda: tls.pinned, self._patience)
        self.grpc_server = _new_server(limits, guard)
        self._health = health.HealthServicer()
        self._add_services(
            service or EngineInferenceService(host, limits.deadline), limits.deadline
        )
        self.address = _listen(self.grpc_server, config, tls)

    def start(self) -> None:
        for service in ("", *(service.full_name for service in SERVICES)):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._patience.start()
        self.grpc_server.start()

    def stop(self) -> None:
        """Answer what is in progress, refuse the rest, and end."""
        self._health.enter_graceful_shutdown()
        self.grpc_server.stop(self._drain).wait()
        self._patience.stop()
        self.host.close(self._drain)

    def _add_services(self, inference: GRPCInferenceServiceServicer, longest: float) -> None:
        server = self.grpc_server
        add_GRPCInferenceServiceServicer_to_server(inference, server)
        add_EngineServiceServicer_to_server(EngineOwnService(self.host, longest), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([service.full_name for service in SERVICES], server)


def _certificate(shown: Sequence[bytes]) -> x509.Certificate | None:
    """The certificate that a caller has shown; None without one that can be read."""
    if len(shown) != 1:
        return None
    try:
        return x509.load_pem_x509_certificate(shown[0])
    except ValueError:
        return None


def _new_server(limits: EngineLimits, guard: AccessInterceptor) -> grpc.Server:
    return grpc.server(
        futures.ThreadPoolExecutor(limits.threads, thread_name_prefix="call"),
        interceptors=[guard],
        maximum_concurrent_rpcs=limits.concurrent_calls,
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_send_message_length", limits.message_bytes),
            ("grpc.max_allowed_incoming_connections", limits.connections + _room()),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            # Gateways' pings come more often than gRPC would have them: see `TlsEndpoint`.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_MS),
            ("grpc.so_reuseport", 0),
        ],
    )


def _room() -> int:
    """How many connections more may be in a handshake, which only a pinned peer gets through."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, min(_HANDSHAKES, soft - _OWN_FILES))


def _listen(server: grpc.Server, config: EngineConfig, tls: CertificateReloader | None) -> str:
    """Binds the configured address and returns it, with the port that it got."""
    path = config.listen.socket
    try:
        if path is not None:
            unix_sockets.clear_way(path)
            with unix_sockets.private_files():
                server.add_insecure_port(f"unix:{path.absolute()}")
            unix_sockets.check_socket(path)
            return str(path)
        if tls is None:
            raise ConfigError("[listen] names neither a socket nor an address")
        port = server.add_secure_port(config.listen.tls, tls.credentials())
        return f"{config.listen.tls.rpartition(':')[0]}:{port}"
    except RuntimeError as error:
        place = path or config.listen.tls
        raise ConfigError(f"cannot listen on {place}: is it in use?") from error


def _parsed(handler: Any, message: bytes) -> Any:
    """Step 3. Raises: MESSAGE_MALFORMED."""
    try:
        return handler.request_deserializer(message)
    except DecodeError as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not a message of the method's") from error


def _abort(method: str, context: grpc.ServicerContext, error: Exception) -> None:
    code: Callable[[], Any] = context.code  # type: ignore[attr-defined]
    if code() is not None and not isinstance(error, NotImplementedError):
        # The handler itself reports a method that does not exist.
        raise error
    refusal = refusal_for(error)
    if refusal.reason.kind in (Kind.INTERNAL, Kind.DATA_LOSS):
        _log.error("%s failed: %s", method, refusal, exc_info=error)
    status = grpc_status(refusal)
    forget_frames(error)
    context.abort_with_status(status)
