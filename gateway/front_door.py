"""The one interceptor that every call passes: who is it, may they, and what do they hear if not.

1. A method without a rule is refused.
2. A method open to anyone passes without a credential.
3. The credential is verified and the policy names the principal.
4. The principal's roles must meet the rule, before the request itself is looked at.
5. Whatever the handler raises becomes a reason from the fixed list.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import grpc

from gateway.rules import ANYONE, RULES
from gateway.statuses import grpc_status
from sealgate.reasons import Kind, Reason, Refusal
from sealgate.trust.policy import Policy, Principal

_log = logging.getLogger(__name__)

# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

RECEIPT_METADATA = "sealgate-receipt-bin"


class Authenticator(Protocol):
    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal: ...


class RecordedRefusal(Refusal):
    """A refusal that has been recorded; its receipt travels in the trailing metadata."""

    def __init__(self, cause: Refusal, receipt: bytes | None) -> None:
        super().__init__(cause.reason, cause.detail)
        self.receipt = receipt


class Call:
    """A gRPC context that knows its method and its verified caller; all else is the context's."""

    __slots__ = ("_principal", "context", "method")

    def __init__(self, context: grpc.ServicerContext, method: str) -> None:
        self.context = context
        self.method = method
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        """The caller. Raises CREDENTIAL_MISSING on a method that is open to anyone."""
        if self._principal is None:
            raise Refusal(Reason.CREDENTIAL_MISSING)
        return self._principal

    @property
    def is_anonymous(self) -> bool:
        return self._principal is None

    def identify(self, principal: Principal) -> None:
        """Says who is calling, once that is verified."""
        self._principal = principal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


class FrontDoor(grpc.ServerInterceptor):
    """Guards every handler of a server.

    `anonymous_refusals` counts what was refused before a caller was known; those are not recorded
    one by one, so that nobody can fill the disk.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        policy: Callable[[], Policy],
        record: Callable[[Call, Refusal], None],
    ) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._record = record
        self._guarded: dict[str, Handler] = {}
        self.anonymous_refusals: Counter[str] = Counter()

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
        serialization = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            stream: Any = handler.stream_stream or handler.unary_stream
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(self._guard_stream(method, stream), **serialization)
        single: Any = handler.stream_unary or handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(self._guard_single(method, single), **serialization)

    def _guard_single(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            call = Call(context, method)
            try:
                self._admit(call)
                return behavior(request, call)
            except Exception as error:
                self._abort(call, error)

        return guarded

    def _guard_stream(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            call = Call(context, method)
            try:
                self._admit(call)
                yield from behavior(request, call)
            except Exception as error:
                self._abort(call, error)

        return guarded

    def _admit(self, call: Call) -> None:
        # 1.
        roles = RULES.get(call.method)
        if roles is None:
            raise Refusal(Reason.RULE_MISSING, call.method)
        # 2.
        if roles == ANYONE:
            return
        # 3.
        call.identify(self._authenticator.principal(call.context, self._policy()))
        # 4.
        if roles.isdisjoint(call.principal.roles):
            raise Refusal(Reason.ROLE_TOO_LOW, f"{call.principal.name} on {call.method}")

    def _abort(self, call: Call, error: Exception) -> None:
        """Step 5: ends the call with the error's reason; the outermost boundary of a call."""
        code: Callable[[], Any] = call.code
        if code() is not None:
            # A handler of a foreign servicer has aborted by itself.
            raise error
        refusal = error if isinstance(error, Refusal) else Refusal(Reason.INTERNAL, str(error))
        if refusal.reason.kind in (Kind.INTERNAL, Kind.DATA_LOSS):
            _log.error("%s failed: %s", call.method, refusal, exc_info=error)
        receipt: bytes | None = None
        if isinstance(refusal, RecordedRefusal):
            receipt = refusal.receipt
        elif call.is_anonymous:
            self.anonymous_refusals[refusal.reason.name] += 1
        else:
            self._record_refusal(call, refusal)
        metadata = ((RECEIPT_METADATA, receipt),) if receipt is not None else ()
        call.abort_with_status(grpc_status(refusal.reason, *metadata))

    def _record_refusal(self, call: Call, refusal: Refusal) -> None:
        try:
            self._record(call, refusal)
        except Refusal as failure:
            # The call is refused as it is; that it was not recorded must show somewhere.
            _log.error("a refusal of %s is not recorded: %s", call.method, failure)
