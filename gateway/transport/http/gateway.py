"""The HTTP gateway: takes the steps of the auth interceptor for requests over HTTP.

1. The path is one of the protocol's; its gRPC method's rule is the rule here.
2. There is room for one more inference.
3. Credential, principal, roles and quotas are looked at, as in `gateway.auth.interceptor`.
4. The body is read, in bounded time and room, and unpacked where it is compressed.
5. The same service is asked as by gRPC; what it answers in parts leaves as it comes, and steps 1
   and 3 are taken again before each of them.
6. Any error becomes a reason from the fixed list, recorded or counted as by gRPC.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Protocol

from gateway.admission import StreamLimiter
from gateway.auth import AuthInterceptor
from gateway.calls.call import Call, following
from gateway.calls.messages import Body, unpacked
from gateway.config.sections import GatewayLimits
from gateway.services import InferenceService
from gateway.transport.http.bodies import HttpAnswer, HttpStream, refused, said
from gateway.transport.http.infer import HEADER_LENGTH
from gateway.transport.http.openapi import document
from gateway.transport.http.operations import (
    CHAT,
    OPENAI,
    OPENAPI,
    OPERATIONS,
    READS_BODY,
    RestRequest,
    Route,
    find,
)
from gateway.transport.http.peer import HttpContext
from inference.observability import tracing
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError

_LOOK_SECONDS = 0.1


class DisconnectWatch:
    """Notices callers who have gone while the gateway works for them. gRPC calls back when a call
    ends; an HTTP connection has to be looked at, here on one thread. Safe for many threads.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.watched: set[HttpContext] = set()
        self._thread = PeriodicThread("http-absence", _LOOK_SECONDS, self._look)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    @contextmanager
    def noticed(self, context: HttpContext) -> Iterator[None]:
        """While the block runs, whoever wants to know is told when the caller goes."""
        with self._mutex:
            self.watched.add(context)
        try:
            yield
        finally:
            with self._mutex:
                self.watched.remove(context)

    def _look(self) -> None:
        with self._mutex:
            watched = [*self.watched]
        for context in watched:
            if not context.is_active():
                context.leave()


_INFER = "ModelInfer"
# The methods that may take long, and are ended where their caller has gone.
_ARE_AWAITED = frozenset({_INFER, CHAT})


class HttpCall(Protocol):
    """A request whose head has come, on its connection."""

    verb: str
    target: str
    context: HttpContext
    out: HttpStream

    def header(self, name: str) -> str | None:
        """Raises: MESSAGE_MALFORMED where it comes twice."""

    def body(self, largest: int, seconds: float) -> bytearray:
        """Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED, DEADLINE_TOO_SHORT."""


class HttpGateway:
    """Answers requests; `answers` counts them by their status."""

    def __init__(
        self,
        service: InferenceService,
        interceptor: AuthInterceptor,
        stream_limiter: StreamLimiter,
        absence: DisconnectWatch,
        limits: GatewayLimits,
        answers: Counter[str],
    ) -> None:
        self._service = service
        self._interceptor = interceptor
        self._stream_limiter = stream_limiter
        self._absence = absence
        self.limits = limits
        self._answers = answers
        self._room = threading.BoundedSemaphore(limits.threads)
        self._openapi = said(document())

    def answer(self, exchange: HttpCall) -> HttpAnswer:
        answer = self._answer(exchange)
        self.count(answer)
        return answer

    def count(self, answer: HttpAnswer) -> None:
        self._answers[str(answer.status)] += 1

    def _answer(self, exchange: HttpCall) -> HttpAnswer:
        if exchange.target == OPENAPI and exchange.verb in ("GET", "HEAD"):
            return self._openapi
        found = find(exchange.verb, exchange.target)
        method = found[0].method if found else ""
        name = method or "unknown path"
        # It has what a call needs of gRPC's context, though not its type.
        call = Call(exchange.context, method, self._stream_limiter)  # type: ignore[arg-type]
        span = tracing.call(name, exchange.context.invocation_metadata)
        with span, following(name, call), ExitStack() as leaving:
            try:
                # 1.
                if found is None:
                    raise SealgateError(Reason.PATH_UNKNOWN)
                return self._admitted(exchange, *found, call, leaving)
            except Exception as error:  # 6: the outermost boundary of a call
                openai = exchange.target.startswith(OPENAI)
                return refused(*self._interceptor.refused(call, error), openai)

    def _admitted(
        self,
        exchange: HttpCall,
        route: Route,
        names: Mapping[str, str],
        call: Call,
        leaving: ExitStack,
    ) -> HttpAnswer:
        # 2.
        if route.rpc == _INFER:
            leaving.callback(self._enter_room())
        # 3.
        self._interceptor.admit(call, route.method)
        leaving.callback(self._interceptor.enter(call))
        # 4.
        body: Body = b""
        if route.operation in READS_BODY:
            with self._stream_limiter.reading(call, call.principal.name):
                body = self._read(exchange)
        # 5.
        asked = RestRequest(
            call,
            names,
            body,
            exchange.header(HEADER_LENGTH),
            exchange.out,
            lambda: self._interceptor.admit(call, route.method),
            lambda error: self._interceptor.refused(call, error),
        )
        if route.operation in _ARE_AWAITED:
            leaving.enter_context(self._absence.noticed(exchange.context))
        if route.operation == CHAT:
            leaving.enter_context(call.staying())
        return OPERATIONS[route.operation](self._service, asked)

    def _enter_room(self) -> Callable[[], None]:
        """Raises: QUEUE_FULL, before anyone looks at who asks
        (`gateway.admission.overload`).
        """
        if not self._room.acquire(blocking=False):
            raise SealgateError(Reason.QUEUE_FULL, "load shedding")
        return self._room.release

    def _read(self, exchange: HttpCall) -> Body:
        largest = self.limits.message_bytes
        packed = exchange.body(largest, self.limits.deadline)
        return unpacked(packed, exchange.header("content-encoding"), largest)
