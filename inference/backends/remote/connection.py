"""Requests to one engine in another process, and what its refusals mean for callers."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from inference.backends.remote.calls import OnEnd, begin, call, is_unknown, one_stream, outcome
from inference.backends.remote.endpoint import Endpoint, RenewableChannel
from inference.backends.remote.messages import Asked, VersionMessages
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
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

    def begin(self, messages: VersionMessages, burst: Sequence[Asked]) -> Any:
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
        """What a caller hears of what the engine said of a request."""
        if refusal.reason in _OF_A_REQUEST:
            return refusal
        # It is away, is draining, or does not have what it was shown.
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
