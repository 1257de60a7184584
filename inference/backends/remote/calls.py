"""Calls to an engine: each returns the answer or raises the engine's error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import grpc

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of, retry_after_of

# Where gRPC itself has ended a call; CANCELLED is our own doing, for want of a listener.
_BY_STATUS = {
    grpc.StatusCode.CANCELLED: Reason.DEADLINE_TOO_SHORT,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_TOO_SHORT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.QUEUE_FULL,
}
_LONGEST_DETAIL = 200
LONGEST_RETRY = 60.0
"""An engine's queue is empty sooner; whoever says more would keep callers away."""

OnEnd: TypeAlias = Callable[[Callable[[], Any]], Any]
"""Is given what ends a stream from another thread, when nobody listens any more."""

_Request = TypeVar("_Request", contravariant=True)
_Response = TypeVar("_Response", covariant=True)


class Method(Protocol[_Request, _Response]):
    def __call__(self, request: _Request, *, timeout: float | None) -> _Response: ...


def call(
    method: Method[_Request, _Response], request: _Request, seconds: float | None
) -> _Response:
    """The response. Raises the engine's error, or ENGINE_UNAVAILABLE."""
    try:
        return method(request, timeout=seconds)
    except grpc.RpcError as error:
        raise _refused(error) from error
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error


def begin(method: Any, request: Any, seconds: float | None) -> "grpc.Future[Any]":
    """A call whose response is waited for elsewhere: see `outcome`. Raises: ENGINE_UNAVAILABLE."""
    try:
        return cast("grpc.Future[Any]", method.future(request, timeout=seconds))
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error


def is_unknown(call: Any) -> bool:
    """Whether a call has ended because an engine of an older release does not know its method."""
    return call.code() is grpc.StatusCode.UNIMPLEMENTED


def outcome(call: "grpc.Future[Any]") -> Any:
    """The response of a call that has ended. Raises as `call`."""
    try:
        return call.result()
    except grpc.RpcError as error:
        raise _refused(error) from error
    except grpc.FutureCancelledError as error:
        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "nobody waits any more") from error


@contextmanager
def one_stream(
    method: Callable[..., Any],
    request: oip.ModelInferRequest,
    seconds: float | None,
    on_end: OnEnd,
) -> Iterator[Iterator[oip.ModelInferResponse]]:
    """The responses to one request on a stream of its own, which ends with the block.

    Raises, while they are read, the refusal that came instead, or ENGINE_UNAVAILABLE.
    """
    try:
        stream = method(iter((request,)), timeout=seconds)
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error
    on_end(stream.cancel)
    try:
        yield _responses(stream)
    finally:
        stream.cancel()


def error_message(refusal: SealgateError) -> str:
    """How an error appears in a stream that continues: the reason's name, a colon, its sentence."""
    return f"{refusal.reason.name}: {refusal.reason.sentence}"


def _responses(stream: Any) -> Iterator[oip.ModelInferResponse]:
    try:
        for message in stream:
            if message.error_message:
                name = message.error_message.partition(":")[0]
                raise SealgateError(known_reason(name), message.error_message[:_LONGEST_DETAIL])
            yield message.infer_response
    except grpc.RpcError as error:
        raise _refused(error) from error


def _refused(error: Any) -> SealgateError:
    by_status = _BY_STATUS.get(error.code(), Reason.ENGINE_UNAVAILABLE)
    reason = _known(reason_of(error)) or by_status
    detail = (error.details() or "")[:_LONGEST_DETAIL]
    retry = retry_after_of(error)
    return SealgateError(reason, detail, None if retry is None else min(retry, LONGEST_RETRY))


def known_reason(name: str) -> Reason:
    """The reason that an engine names."""
    return _known(Reason.named(name)) or Reason.ENGINE_UNAVAILABLE


def _known(reason: Reason | None) -> Reason | None:
    """An engine of a newer release may give a reason that callers here would not know."""
    return None if reason is Reason.REASON_UNKNOWN else reason
