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
    """A gRPC context that knows its verified caller; everything else is the context's own."""

    __slots__ = ("_principal", "context")

    def __init__(self, context: grpc.ServicerContext, principal: Principal | None) -> None:
        self.context = context
        self._principal = principal

    @property
    def principal(self) -> Principal:
        """The caller. Raises CREDENTIAL_MISSING on a method that is open to anyone."""
        if self._principal is None:
            raise Refusal(Reason.CREDENTIAL_MISSING)
        return self._principal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


class FrontDoor(grpc.ServerInterceptor):
    """Guards every handler of a server.

    `anonymous_refusals` counts what was refused before a caller was known; those are not recorded
    one by one, so that nobody can fill the disk.
    """

    def __init__(self, authenticator: Authenticator, policy: Callable[[], Policy]) -> None:
        self._authenticator = authenticator
        self._policy = policy
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
            try:
                return behavior(request, self._admit(method, context))
            except Exception as error:
                self._abort(context, method, error)

        return guarded

    def _guard_stream(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from behavior(request, self._admit(method, context))
            except Exception as error:
                self._abort(context, method, error)

        return guarded

    def _admit(self, method: str, context: grpc.ServicerContext) -> Call:
        roles = RULES.get(method)
        if roles is None:
            raise Refusal(Reason.RULE_MISSING, method)
        if roles == ANYONE:
            return Call(context, None)
        principal = self._authenticator.principal(context, self._policy())
        if roles.isdisjoint(principal.roles):
            raise Refusal(Reason.ROLE_TOO_LOW, f"{principal.name} on {method}")
        return Call(context, principal)

    def _abort(self, context: grpc.ServicerContext, method: str, error: Exception) -> None:
        """Ends the call with the error's reason; this is the outermost boundary of a call."""
        code: Callable[[], Any] = context.code  # type: ignore[attr-defined]
        if code() is not None:
            # A handler of a foreign servicer has aborted by itself.
            raise error
        if isinstance(error, Refusal):
            reason = error.reason
            if reason.kind is Kind.UNAUTHENTICATED:
                self.anonymous_refusals[reason.name] += 1
            if reason.kind in (Kind.INTERNAL, Kind.DATA_LOSS):
                _log.error("%s failed: %s", method, error, exc_info=error)
        else:
            reason = Reason.INTERNAL
            _log.error("%s failed", method, exc_info=error)
        context.abort_with_status(grpc_status(reason, *_receipt(error)))


def _receipt(error: Exception) -> tuple[tuple[str, bytes], ...]:
    if isinstance(error, RecordedRefusal) and error.receipt is not None:
        return ((RECEIPT_METADATA, error.receipt),)
    return ()
