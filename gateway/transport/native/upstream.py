"""The grpcio server behind the native transport: a private socket, and who is at the other end.

The socket lies in a folder that only this user may enter. Each call that comes by it must bear this
process's secret and the number of its caller's connection, as metadata that the native transport
removes from what callers send and sets itself. To gRPC the peer is the native transport; handlers
get a context that shows the caller instead.
"""

import hmac
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import grpc

from gateway.transport.native.context import certificate_properties
from sealgate.settings import ConfigError

_SECRET = "x-sealgate-front-secret"  # noqa: S105
_CONNECTION = "x-sealgate-front-connection"
# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Peers(Protocol):
    """The open connections of the native transport, by number."""

    def peer(self, connection: int) -> tuple[str, bytes | None] | None: ...

    def note_caller(self, connection: int) -> None: ...


class UpstreamSocket:
    """Where the grpcio server listens for the native transport, until `remove`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sealgate-front-"))
        self.path = self._folder / "grpc.sock"
        self.secret = secrets.token_hex(32)

    def listen(self, server: grpc.Server) -> None:
        """Raises: ConfigError."""
        try:
            server.add_insecure_port(f"unix:{self.path}")
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {self.path}") from error
        self.path.chmod(0o600)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class ForwardedContext:
    """gRPC's context of a call that the native transport passed on; its peer is the caller."""

    def __init__(
        self,
        context: grpc.ServicerContext,
        metadata: Sequence[tuple[str, str | bytes]],
        peer: tuple[str, bytes | None],
        note: Callable[[], None],
    ) -> None:
        self._context = context
        self._metadata = metadata
        self._peer = peer
        self._note = note

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return self._metadata

    def peer(self) -> str:
        return self._peer[0]

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return certificate_properties(self._peer[1])

    def note_caller(self) -> None:
        """Says that this call has authenticated."""
        self._note()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class PeerInterceptor(grpc.ServerInterceptor):
    """Gives handlers behind it a `ForwardedContext`. Calls without the secret are refused."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._peers: Peers | None = None
        # Only methods that exist are kept, so callers cannot make this grow.
        self._wrapped: dict[str, Handler] = {}

    def show(self, peers: Peers) -> None:
        """Says who knows the connections; before the server starts."""
        self._peers = peers

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped[method] = self._wrap(handler)
        return wrapped

    def _wrap(self, handler: Handler) -> Handler:
        """`AuthInterceptor` makes every handler take a stream; see there."""
        behavior: Any = handler.stream_stream or handler.stream_unary

        if handler.response_streaming:

            def streaming(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
                yield from behavior(messages, self._shown(context))

            wrapped: Any = streaming
            make: Any = grpc.stream_stream_rpc_method_handler
        else:

            def single(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
                return behavior(messages, self._shown(context))

            wrapped, make = single, grpc.stream_unary_rpc_method_handler
        pool = getattr(behavior, "experimental_thread_pool", None)
        if pool is not None:
            wrapped.experimental_thread_pool = pool
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _shown(self, context: grpc.ServicerContext) -> ForwardedContext:
        ours = {_SECRET: "", _CONNECTION: ""}
        theirs = []
        for name, value in context.invocation_metadata():
            if name in ours:
                ours[name] = str(value)
            else:
                theirs.append((name, value))
        peers, given = self._peers, ours[_CONNECTION]
        genuine = hmac.compare_digest(ours[_SECRET].encode(), self._secret.encode())
        if not genuine or peers is None or not given.isdecimal():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "not from the native transport")
            raise AssertionError  # abort has raised
        number = int(given)
        peer = peers.peer(number)
        if peer is None:
            context.abort(grpc.StatusCode.CANCELLED, "the connection has ended")
            raise AssertionError  # abort has raised
        return ForwardedContext(context, theirs, peer, lambda: peers.note_caller(number))
