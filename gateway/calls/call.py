"""A call on its way through the gateway: method, caller, and what its end cleans up and logs."""

import itertools
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc

from gateway import security_events
from gateway.admission import StreamLimiter
from gateway.security_events import SecurityEvent, event_of_call
from inference.observability import tracing
from inference.observability.tracing import CallSpan
from sealgate.process_log import REQUESTS, RequestIds, current_request
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy, Principal

_log = logging.getLogger(REQUESTS)

# Of this process, and in it.
_OURS, _NUMBERS = secrets.token_hex(4), itertools.count(1)
_LONGEST_ID = 128
_OK = "ok"
_UNCLEAN = re.compile(r"[^!-~]")


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


class WholeCall(Protocol):
    """A unary call whose message has come; else a gRPC context (`Call`)."""

    @property
    def message(self) -> bytes: ...

    def note_caller(self) -> None:
        """Note that a call has authenticated on the connection."""
        ...

    def answer(self, message: bytes) -> None:
        """End the call with its answer. From any thread, once."""
        ...

    def refuse(self, status: grpc.Status) -> None:
        """End the call with an error. From any thread, once."""
        ...

    def refuse_alike(self, status: grpc.Status, beginning: int, seconds: float) -> None:
        """Have later calls refused, for so many seconds: those of the same caller whose message
        begins with the same `beginning` bytes, urgent ones too.
        """
        ...

    def flush(self) -> None:
        """Have what was answered so far in this burst leave now."""
        ...


class Call:
    """A gRPC context that also knows its method, its verified caller, what to clean up at its end,
    and the stream limiter that admitted it. All else is the context's.
    """

    __slots__ = ("_cleanup", "_principal", "_stream_limiter", "context", "method", "policy")

    def __init__(
        self, context: grpc.ServicerContext, method: str, stream_limiter: StreamLimiter
    ) -> None:
        self.context = context
        self.method = method
        self._cleanup: CallCleanup | None = None
        self._stream_limiter = stream_limiter
        self._principal: Principal | None = None
        self.policy: Policy | None = None
        """By which the caller was admitted; None as long as nobody was."""

    @property
    def cleanup(self) -> CallCleanup:
        """The callbacks that run when the call ends. Only the call's own thread registers first."""
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

    def identify(self, principal: Principal, policy: Policy | None = None) -> None:
        """Says who is calling, once that is verified, and by which policy."""
        self._principal, self.policy = principal, policy

    # Attributes that every call needs, without the search of `__getattr__`.

    def invocation_metadata(self) -> Any:
        return self.context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self.context.time_remaining()

    def is_active(self) -> bool:
        return self.context.is_active()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


@dataclass(slots=True)
class CallLog(RequestIds):
    """A call so far. Fields that it never reached are empty; `outcome` is a reason, empty for none;
    `injected`, whether the prompt was taken for an injection; `leaked`, whether the answer held
    what the policy looks for.
    """

    method: str = ""
    model: str = ""
    version: str = ""
    verdict: str = ""
    outcome: str = ""
    injected: bool = False
    leaked: bool = False

    def ran(self, model: str, version: int, verdict: str) -> None:
        """Which version the call came to, and what screening found."""
        self.model, self.version, self.verdict = model, str(version), verdict


class CallerIds(Protocol):
    @property
    def is_anonymous(self) -> bool: ...

    @property
    def principal(self) -> Any: ...

    def peer(self) -> str:
        """Where the caller is, as gRPC says it."""
        ...


def new_log(method: str) -> CallLog:
    """The log of a call that begins now."""
    return CallLog(f"{_OURS}-{next(_NUMBERS)}", method=method)


@contextmanager
def following(method: str, caller: CallerIds) -> Iterator[CallLog]:
    """The block's lines bear the call's ids; if the log is to tell of each call, it does when the
    block ends.
    """
    log = new_log(method)
    current_request.set(log)
    began = time.monotonic_ns()
    try:
        yield log
    finally:
        if tracing.is_on():
            tracing.say(**_attributes(log))
        _tell(log, caller, began)
        # Not reset: a stream may be closed by another thread than began it.
        current_request.set(None)


def end_log(log: CallLog, caller: CallerIds, began: int, span: CallSpan | None) -> None:
    """Trace and tell of a call that began at `began` (nanoseconds, monotonic) and ends now, in the
    middle of other work of its thread.
    """
    if span is not None:
        span.end(_attributes(log))
    _tell(log, caller, began)


def line_of_call() -> CallLog:
    """That of the call for which this thread works; one that nobody reads where there is none."""
    found = current_request.get()
    return found if isinstance(found, CallLog) else CallLog("")


def cleaned(caller_id: str) -> str:
    """A caller's own id, bounded, and of visible ASCII alone."""
    return _UNCLEAN.sub("?", caller_id[:_LONGEST_ID])


def _attributes(log: CallLog) -> dict[str, str]:
    return {
        "request": log.id,
        "model": log.model,
        "version": log.version,
        "verdict": log.verdict,
        "outcome": log.outcome or _OK,
    }


def _tell(log: CallLog, caller: CallerIds, began: int) -> None:
    if security_events.is_on():
        security_events.report(_event(log, caller))
    if not _log.isEnabledFor(logging.INFO):
        return
    told = {
        "principal": "" if caller.is_anonymous else caller.principal.name,
        "model": log.model,
        "version": log.version,
        "verdict": log.verdict,
        "outcome": log.outcome or _OK,
        "seconds": round((time.monotonic_ns() - began) / 1e9, 6),
    }
    fields = {name: value for name, value in told.items() if value != ""}
    _log.info("%s", log.method, extra={"fields": fields})


def _event(log: CallLog, caller: CallerIds) -> SecurityEvent | None:
    principal = "" if caller.is_anonymous else caller.principal.name
    ran = log.method, log.model, log.version
    found = log.injected, log.leaked
    return event_of_call(log.outcome, log.verdict, principal, *ran, caller.peer, *found)
