"""The interceptor of every call: authenticates the caller, checks roles and quotas, or refuses.

1. A method without a rule is refused.
2. A method open to anyone passes without a credential.
3. The credential is verified and the policy names the principal.
4. The principal's roles must meet the rule, before the request itself is read.
5. The caller's quotas have room (`gateway.admission.quotas`).
6. The request is read, in bounded time and room (`gateway.admission.stream_limiter`), and must be a
   message (`gateway.services.registry_messages`).
7. A call that shows audit data is recorded before anything of its answer leaves; else nothing
   leaves.
8. While answers stream, steps 1 to 4 are taken again before each of them leaves.
9. Any error of the handler becomes a reason from the fixed list.
"""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import grpc

from gateway.admission import COUNTED, QuotaLimiter, StreamLimiter, WaitLimits, nothing
from gateway.auth.method_rules import ANYONE, AUDIT_READS, RULES, WATCHES
from gateway.calls.call import Call, RecordedRefusal, following, line_of_call
from gateway.calls.messages import Handler, only, parsed
from inference.observability import tracing
from sealgate.reasons import Kind, Reason, SealgateError, roles_needed
from sealgate.remote import RECEIPT_METADATA
from sealgate.remote.errors import forget_frames, grpc_status, refusal_for
from sealgate.trust.policy import Policy, Principal

_log = logging.getLogger(__name__)


class Authenticator(Protocol):
    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal: ...


class CallRecorder(Protocol):
    """Writes audit entries about calls. Both methods raise: RECORD_FAILED."""

    def refusal(self, call: Call, refusal: SealgateError) -> None:
        """Record that a call was refused."""

    def read(self, call: Call, request: Any) -> None:
        """Record that a call shows audit data, and what it asked for."""


class AuthInterceptor(grpc.ServerInterceptor):
    """Guards every handler of a server.

    `counted_refusals` counts refusals before a caller was known, and refusals by a caller's quota;
    those are not recorded one by one, so that nobody can fill the disk. `recorded_refusals` counts
    the recorded ones outside the path of a request.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        policy: Callable[[], Policy],
        recorder: CallRecorder,
        stream_limiter: StreamLimiter,
        quotas: QuotaLimiter,
        counted_refusals: Counter[str],
    ) -> None:
        """`counted_refusals` may count what else refuses calls before it knows their caller."""
        self._authenticator = authenticator
        self._policy = policy
        self._recorder = recorder
        self._stream_limiter = stream_limiter
        self._quotas = quotas
        self._guarded: dict[str, Handler] = {}
        self.counted_refusals = counted_refusals
        self.recorded_refusals: Counter[str] = Counter()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        # Only methods that exist are kept, so callers cannot make this grow.
        guarded = self._guarded[method] = self._guard(method, handler)
        return guarded

    def _guard(self, method: str, handler: Handler) -> Handler:
        """The handler behind the interceptor, which takes every request as a stream of bytes.

        On the wire a single message is one too. Had the server read it, anyone could have held a
        thread by not sending it, and had it parsed.
        """
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._guard_stream(method, handler), None, handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            self._guard_single(method, handler), None, handler.response_serializer
        )

    def _guard_single(self, method: str, handler: Handler) -> Callable[..., Any]:
        streams = handler.request_streaming
        behavior: Any = handler.stream_unary if streams else handler.unary_unary
        reads = method in AUDIT_READS

        def answered(messages: Iterator[bytes], call: Call) -> Any:
            requests = parsed(messages, handler, self._stream_limiter.message_bytes)
            leave = nothing
            try:
                self.admit(call, method)
                leave = self.enter(call)
                if streams:
                    with self._streaming(call, WaitLimits.STREAM):
                        return behavior(self._awaited(call, requests), call)
                with self._reading(call):
                    request = only(requests)
                answer = behavior(request, call)
                if reads:
                    self._recorder.read(call, request)
                return answer
            except Exception as error:
                self._abort(call, error)
            finally:
                leave()

        def guarded(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            call = Call(context, method, self._stream_limiter)
            with tracing.call(method, context.invocation_metadata), following(method, call):
                return answered(messages, call)

        return guarded

    def _guard_stream(self, method: str, handler: Handler) -> Callable[..., Any]:
        streams = handler.request_streaming
        behavior: Any = handler.stream_stream if streams else handler.unary_stream
        watches = method in WATCHES
        wait = WaitLimits.WATCH if watches else WaitLimits.STREAM
        reads = method in AUDIT_READS

        def answered(messages: Iterator[bytes], call: Call) -> Iterator[Any]:
            requests = parsed(messages, handler, self._stream_limiter.message_bytes)
            leave = nothing
            try:
                self.admit(call, method)
                leave = self.enter(call)
                with self._streaming(call, wait):
                    request = (
                        self._quotas.each(call.principal, self._awaited(call, requests))
                        if streams
                        else only(requests)
                    )
                    answers = behavior(request, call)
                    if reads:
                        answers = self._recorded(call, request, answers)
                    yield from self._admitted(call, answers)
            except Exception as error:
                self._abort(call, error)
            finally:
                leave()

        def guarded(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
            call = Call(context, method, self._stream_limiter)

            def followed() -> Generator[Any, None, None]:
                with following(method, call):
                    yield from answered(messages, call)

            yield from tracing.stream(method, context.invocation_metadata, followed())

        if watches:
            # gRPC's own name for the threads on which a handler runs.
            guarded.experimental_thread_pool = self._stream_limiter.watchers  # type: ignore[attr-defined]
        return guarded

    def admit(self, call: Call, method: str, authenticator: Authenticator | None = None) -> None:
        """Steps 1 to 4, by the rule of `method`; an `authenticator` takes the place of the usual
        one. Raises: RULE_MISSING, ROLE_TOO_LOW, and more.
        """
        # 1.
        roles = RULES.get(method)
        if roles is None:
            raise SealgateError(Reason.RULE_MISSING, method)
        # 2.
        if roles != ANYONE:
            self._admit(call, roles, self._policy(), authenticator or self._authenticator)

    def readmit(self, call: Call, policy: Policy) -> bool:
        """Take steps 3 and 4 by the policy that decides about a call's answer; return False if the
        call was admitted by that one. Raises as `admit` does, and the caller is who it was.
        """
        own = call.policy
        # The same policy is read anew with each update of the engine.
        if own is policy or (own is not None and own.digest == policy.digest):
            return False
        self._admit(call, RULES[call.method], policy, self._authenticator)
        return True

    def _admit(
        self, call: Call, roles: Set[str], policy: Policy, authenticator: Authenticator
    ) -> None:
        # 3.
        # Of a stream, whose caller is looked at again with each message, the first time is told.
        with tracing.span("authenticate") if call.is_anonymous else nullcontext():
            principal = authenticator.principal(call.context, policy)
        call.identify(principal, policy)
        # 4.
        if roles.isdisjoint(principal.roles):
            detail = f"{principal.name} on {call.method}"
            raise SealgateError(Reason.ROLE_TOO_LOW, detail, facts=roles_needed(roles))

    def enter(self, call: Call) -> Callable[[], None]:
        """Step 5; returns what is to be called when the call ends. Raises like
        `QuotaLimiter.enter`.
        """
        return nothing if call.is_anonymous else self._quotas.enter(call.principal)

    def _reading(self, call: Call) -> AbstractContextManager[None]:
        if call.is_anonymous:
            return self._stream_limiter.waiting(call, WaitLimits.ANONYMOUS)
        return self._stream_limiter.reading(call, call.principal.name)

    def _recorded(self, call: Call, request: Any, answers: Iterator[Any]) -> Iterator[Any]:
        """Step 7 for a stream: one entry, before its first message. Raises: RECORD_FAILED."""
        for number, answer in enumerate(answers):
            if number == 0:
                self._recorder.read(call, request)
            yield answer

    def _admitted(self, call: Call, answers: Iterator[Any]) -> Iterator[Any]:
        """Step 8. Raises like `admit`."""
        for answer in answers:
            self.admit(call, call.method)
            with self._stream_limiter.idle(call):
                yield answer

    def _awaited(self, call: Call, messages: Iterator[Any]) -> Iterator[Any]:
        """A stream's messages, none of which is waited for without end."""
        while True:
            with self._stream_limiter.idle(call):
                message = next(messages, None)
            if message is None:
                return
            yield message

    def _streaming(self, call: Call, wait: WaitLimits) -> AbstractContextManager[None]:
        if wait is WaitLimits.STREAM and not call.is_anonymous:
            return self._stream_limiter.streaming(call, call.principal.name)
        return self._stream_limiter.waiting(call, wait)

    def _abort(self, call: Call, error: Exception) -> None:
        """Step 9: ends the call with the error's reason; the outermost boundary of a call."""
        code: Callable[[], Any] = call.code
        if code() is not None and not isinstance(error, NotImplementedError):
            # A handler of a foreign servicer has aborted by itself.
            raise error
        status = self.status_of(call, error)
        forget_frames(error)
        call.abort_with_status(status)

    def status_of(self, call: Call, error: Exception) -> grpc.Status:
        """The status that the caller gets for an error, recorded or counted (`refused`)."""
        refusal, receipt = self.refused(call, error)
        metadata = ((RECEIPT_METADATA, receipt),) if receipt is not None else ()
        return grpc_status(refusal, *metadata)

    def refused(self, call: Call, error: Exception) -> tuple[SealgateError, bytes | None]:
        """The error that the caller gets, recorded or counted, and its receipt where one is due."""
        refusal = refusal_for(error)
        line_of_call().outcome = refusal.reason.name
        if refusal.reason.kind in (Kind.INTERNAL, Kind.DATA_LOSS):
            _log.error("%s failed: %s", call.method, refusal, exc_info=error)
        if isinstance(refusal, RecordedRefusal):
            return refusal, refusal.receipt
        if call.is_anonymous or refusal.reason in COUNTED:
            self.counted_refusals[refusal.reason.name] += 1
        else:
            self.recorded_refusals[refusal.reason.name] += 1
            self._record_refusal(call, refusal)
        return refusal, None

    def _record_refusal(self, call: Call, refusal: SealgateError) -> None:
        try:
            self._recorder.refusal(call, refusal)
        except SealgateError as failure:
            # The call is refused as it is; that it was not recorded must show somewhere.
            _log.error("a refusal of %s is not recorded: %s", call.method, failure)
