"""An engine in another process: its endpoint, requests to it, and what its refusals mean.

The endpoint is a private unix socket, or TLS with pinned certificates on both sides.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from inference.backends.remote.messages import (
    OnEnd,
    RemoteRequest,
    VersionMessages,
    begin,
    call,
    is_unknown,
    one_stream,
    outcome,
)
from inference.observability import tracing
from inference.server import tls, unix_sockets
from sealgate.files import Stamps, stamps
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.connection import CallDetails
from sealgate.settings import ConfigError
from sealgate.v1.engine_pb2_grpc import EngineServiceStub

# Reasons of an engine about a request that are passed on to the gateway's callers.
_OF_A_REQUEST = frozenset(
    {
        Reason.BATCH_TOO_LARGE,
        Reason.TENSOR_TEXT,
        Reason.PROMPT_TOO_LONG,
        Reason.CHAT_MALFORMED,
        Reason.QUEUE_FULL,
        Reason.DEADLINE_TOO_SHORT,
        Reason.VERSION_REVOKED,
        Reason.POLICY_EXPIRED,
        Reason.POINTER_STALE,
        Reason.GRAPH_MISMATCH,
        Reason.OUT_OF_MEMORY,
        Reason.RUN_HUNG,
        Reason.INTERNAL,
    }
)


def traced(channel: grpc.Channel) -> grpc.Channel:
    """The channel itself without tracing; otherwise one whose calls carry the caller's span."""
    return grpc.intercept_channel(channel, _TracePropagation()) if tracing.is_on() else channel


class _TracePropagation(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return continuation(_with_trace(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(_with_trace(client_call_details), request_iterator)


def _with_trace(details: Any) -> CallDetails:
    metadata = (*(details.metadata or ()), *tracing.outgoing())
    return CallDetails.of(details, metadata=metadata)


_LARGEST_MESSAGE = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.enable_http_proxy", 0),
    # An engine that is back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
# A network that is cut tells neither end: pings do, while a call is in progress.
PINGS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # One by which gRPC measures the way may be out already; no other is sent before its end.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class Endpoint(Protocol):
    """An address at which an engine can be reached."""

    def check(self) -> None:
        """Check the endpoint before connecting. Raises SealgateError."""
        ...

    def open(self) -> grpc.Channel:
        """A channel, which connects at its first use."""
        ...

    def stamps(self) -> Stamps:
        """A value that changes with the files with which the channel is opened."""
        ...


@dataclass(frozen=True, slots=True)
class SocketEndpoint:
    """A unix socket."""

    path: Path

    def check(self) -> None:
        """Raises: ENGINE_UNAVAILABLE, SOCKET_EXPOSED."""
        unix_sockets.check_socket(self.path)

    def stamps(self) -> Stamps:
        return ()

    def open(self) -> grpc.Channel:
        return traced(grpc.insecure_channel(f"unix:{self.path.absolute()}", _OPTIONS))


@dataclass(frozen=True, slots=True)
class TlsEndpoint:
    """An `address` (host:port) with TLS and certificates pinned on both sides.

    The engine must present exactly the certificate in the file `engine`; `certificate` and `key`
    are this gateway's own, which the engine has pinned.
    """

    address: str
    engine: Path
    certificate: Path
    key: Path

    def check(self) -> None:
        """Does nothing: TLS checks each connection."""

    def stamps(self) -> Stamps:
        return stamps((self.engine, self.certificate, self.key))

    def open(self) -> grpc.Channel:
        """Raises: ConfigError for files that cannot be used."""
        pinned = tls.read_pinned("[engine] certificate", [self.engine])
        own = tls.read_pair("[engine]", self.key, self.certificate)
        credentials = grpc.ssl_channel_credentials(tls.pem(pinned), *own)
        # Which certificate it is matters, not under which of its names the engine is reached.
        name = ("grpc.ssl_target_name_override", tls.name_of(pinned[0]))
        return traced(grpc.secure_channel(self.address, credentials, (*_OPTIONS, *PINGS, name)))


_log = logging.getLogger(__name__)


class RenewableChannel:
    """A channel that is reopened when its certificates change. One thread at a time may
    renew it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises: ConfigError where the endpoint's files cannot be used."""
        self._endpoint = endpoint
        self._stamps = endpoint.stamps()
        self.channel = endpoint.open()
        self._before: grpc.Channel | None = None

    def renew(self) -> bool:
        """Reopen the channel if its files have changed, and say whether it was reopened. Unusable
        files change nothing. Calls on the previous channel continue until there is a third.
        """
        found = self._endpoint.stamps()
        if found == self._stamps:
            return False
        self._stamps = found
        try:
            channel = self._endpoint.open()
        except ConfigError as error:
            _log.error("the previous certificates stay in use: %s", error)
            return False
        if self._before is not None:
            self._before.close()
        self._before, self.channel = self.channel, channel
        _log.info("the channel to an engine uses new certificates")
        return True

    def close(self) -> None:
        for channel in (self.channel, self._before):
            if channel is not None:
                channel.close()


class EngineConnection:
    """The way to an engine. Safe for many threads; one at a time may renew it."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises: ConfigError if the endpoint's files cannot be used."""
        self._endpoint = endpoint
        self._way = RenewableChannel(endpoint)
        self._inference = GRPCInferenceServiceStub(self._way.channel)
        self._engine = EngineServiceStub(self._way.channel)
        self._behind = threading.Event()
        self._behind.set()
        self.takes_bursts = True
        """Whether it may know `InferBurst`; engines of older releases do not."""

    @property
    def behind(self) -> bool:
        """Whether the engine must be shown everything again."""
        return self._behind.is_set()

    def infer(
        self, request: oip.ModelInferRequest, deadline: float | None
    ) -> oip.ModelInferResponse:
        """The engine's answer; `deadline` is in seconds of `time.monotonic`.

        Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, and what an engine may say of a request.
        """
        left = _seconds_to(deadline)
        try:
            if self.behind:
                self._endpoint.check()
            return call(self._inference.ModelInfer, request, left)
        except SealgateError as refusal:
            raise self.told(refusal) from refusal.__cause__

    def begin(self, messages: VersionMessages, burst: Sequence[RemoteRequest]) -> Any:
        """Send requests of one version in one message; the call that answers them, for `end`.

        Raises: as `infer`.
        """
        deadlines = [asked.options.deadline for asked in burst]
        bounded = [deadline for deadline in deadlines if deadline is not None]
        left = _seconds_to(max(bounded) if len(bounded) == len(burst) else None)
        try:
            if self.behind:
                self._endpoint.check()
            if len(burst) == 1:
                return begin(self._inference.ModelInfer, messages.request(burst[0]), left)
            return begin(self._engine.InferBurst, messages.burst(burst), left)
        except SealgateError as refusal:
            raise self.told(refusal) from refusal.__cause__

    def end(self, call: Any, together: bool) -> Any:
        """The response to a call that has ended, to one request or to several `together`.

        Raises: as `infer`; METHOD_UNSUITED if the engine takes no bursts.
        """
        if together and is_unknown(call):
            self.takes_bursts = False
            raise SealgateError(Reason.METHOD_UNSUITED, "an engine of an older release")
        try:
            return outcome(call)
        except SealgateError as refusal:
            raise self.told(refusal) from refusal.__cause__

    @contextmanager
    def streaming(
        self, request: oip.ModelInferRequest, deadline: float, on_end: OnEnd
    ) -> Iterator[Iterator[oip.ModelInferResponse]]:
        """The engine's answer part by part; see `infer` and `one_stream`."""
        left = _seconds_to(deadline)
        try:
            if self.behind:
                self._endpoint.check()
        except SealgateError as refusal:
            raise self.told(refusal) from refusal.__cause__
        with one_stream(self._inference.ModelStreamInfer, request, left, on_end) as responses:
            yield self._heard(responses)

    def close(self) -> None:
        self._way.close()

    def _heard(
        self, responses: Iterator[oip.ModelInferResponse]
    ) -> Iterator[oip.ModelInferResponse]:
        try:
            yield from responses
        except SealgateError as refusal:
            raise self.told(refusal) from refusal.__cause__

    def told(self, refusal: SealgateError) -> SealgateError:
        """The error for the caller of a request that the engine refused."""
        if refusal.reason in _OF_A_REQUEST:
            return refusal
        # The engine is unreachable or draining, or lacks versions that it was shown.
        self._behind.set()
        return SealgateError(Reason.ENGINE_UNAVAILABLE, str(refusal))

    def _renew(self) -> None:
        if self._way.renew():
            self._inference = GRPCInferenceServiceStub(self._way.channel)
            self._engine = EngineServiceStub(self._way.channel)


def _seconds_to(deadline: float | None) -> float | None:
    """The time that is left for a call. Raises: DEADLINE_TOO_SHORT if there is none."""
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
    return left
