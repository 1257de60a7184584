"""A call on its way through the gateway: its method, its caller, and what its end cleans up."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import grpc

from gateway.admission.stream_limiter import StreamLimiter
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Principal


class CallState(Protocol):
    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have it called at the end; False where that has come."""
        ...


class CallCleanup:
    """Runs what was registered for the end of a call. Safe for many threads.

    gRPC keeps its callbacks until a call is over, and a stream may bring requests for an hour. So
    gRPC gets one callback, and each request removes its own when it is done.
    """

    def __init__(self, context: CallState) -> None:
        self._context = context
        self._mutex = threading.Lock()
        self._ends: set[Callable[[], Any]] = set()
        self._is_awaited = self._is_over = False

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, end: Callable[[], Any]) -> Callable[[], None]:
        """Have `end` called when the call ends, however it does, or now if it has; returns what
        lets go of it.
        """
        with self._mutex:
            is_over, is_first = self._is_over, not self._is_awaited
            self._is_awaited = True
            self._ends.add(end)
        if is_over or (is_first and not self._context.add_callback(self._end)):
            self._end()
        return partial(self._forget, end)

    def _forget(self, end: Callable[[], Any]) -> None:
        with self._mutex:
            self._ends.discard(end)

    def _end(self) -> None:
        with self._mutex:
            self._is_over = True
            ends, self._ends = self._ends, set()
        for end in ends:
            end()


class RecordedRefusal(SealgateError):
    """A refusal that has been recorded; its receipt travels in the trailing metadata."""

    def __init__(self, cause: SealgateError, receipt: bytes | None) -> None:
        super().__init__(cause.reason, cause.detail, cause.retry, cause.facts)
        self.receipt = receipt


class Call:
    """A gRPC context that also knows its method, its verified caller, what to clean up at its end,
    and the stream limiter that admitted it. All else is the context's.
    """

    __slots__ = ("_cleanup", "_principal", "_stream_limiter", "context", "method")

    def __init__(
        self, context: grpc.ServicerContext, method: str, stream_limiter: StreamLimiter
    ) -> None:
        self.context = context
        self.method = method
        self._cleanup: CallCleanup | None = None
        self._stream_limiter = stream_limiter
        self._principal: Principal | None = None

    @property
    def cleanup(self) -> CallCleanup:
        """What the end of the call runs. Only the call's own thread registers first."""
        if self._cleanup is None:
            self._cleanup = CallCleanup(self.context)
        return self._cleanup

    @property
    def principal(self) -> Principal:
        """The caller. Raises CREDENTIAL_MISSING on a method that is open to anyone."""
        if self._principal is None:
            raise SealgateError(Reason.CREDENTIAL_MISSING)
        return self._principal

    @property
    def is_anonymous(self) -> bool:
        return self._principal is None

    def staying(self) -> AbstractContextManager[None]:
        """Hold one of the places of streams while the block runs, for an answer that takes as long
        as theirs. Raises: QUEUE_FULL.
        """
        return self._stream_limiter.streaming(self, self.principal.name)

    def identify(self, principal: Principal) -> None:
        """Says who is calling, once that is verified."""
        self._principal = principal

    # What each call is asked for, without a search for it.

    def invocation_metadata(self) -> Any:
        return self.context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self.context.time_remaining()

    def is_active(self) -> bool:
        return self.context.is_active()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)
