"""The gRPC status of each error: code, reason and metadata, and no free text."""

import math
from dataclasses import dataclass

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sealgate.reasons import Kind, Reason, Refusal

DOMAIN = "sealgate"

STATUS: dict[Kind, grpc.StatusCode] = {
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.STALE: grpc.StatusCode.ABORTED,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.TOO_LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.DATA_LOSS: grpc.StatusCode.DATA_LOSS,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}

# Where nobody knows: long enough for a full queue of the largest batches to move on, short enough
# not to idle.
_RETRY_AFTER = 0.1


@dataclass(frozen=True, slots=True)
class RichStatus(grpc.Status):
    """A status with its details, and whatever else goes into the trailing metadata."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def grpc_status(refusal: Refusal, *metadata: tuple[str, str | bytes]) -> RichStatus:
    """The google.rpc.Status of a refusal: its ErrorInfo and, for what is exhausted, when to retry.

    Aborting with a status drops the trailing metadata that was set before, so more of it is
    passed in here.
    """
    reason = refusal.reason
    code = STATUS[reason.kind]
    status = status_pb2.Status(code=code.value[0], message=reason.sentence)
    info = error_details_pb2.ErrorInfo(reason=reason.name, domain=DOMAIN, metadata=refusal.facts)
    status.details.add().Pack(info)
    seconds = retry_after(refusal)
    if seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(math.ceil(seconds * 1000) * 1_000_000)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    details = rpc_status.to_status(status).trailing_metadata
    return RichStatus(STATUS[reason.kind], status.message, (*details, *metadata))


def refusal_for(error: Exception) -> Refusal:
    """Convert an exception of a handler. Generated servicers raise NotImplementedError for a method
    that they only inherit: RULE_MISSING, as for any other method that is not offered.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotImplementedError):
        return Refusal(Reason.RULE_MISSING, "not implemented")
    return Refusal(Reason.INTERNAL, str(error))


def retry_after(refusal: Refusal) -> float | None:
    """In how many seconds to try again; None where that is not said."""
    if refusal.reason.kind is not Kind.EXHAUSTED:
        return None
    return _RETRY_AFTER if refusal.retry is None else refusal.retry
