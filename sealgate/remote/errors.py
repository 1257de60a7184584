"""Errors of calls: how servers write them as gRPC statuses, and how clients read them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.connection import (
    RECEIPT_METADATA,
    facts_of,
    reason_name_of,
    reason_of,
    retry_after_of,
)
from sealgate.trust.transparency import Checkpoint


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A receipt that has been verified for one call.

    `data` is the receipt itself, for the file; `fields` are those that it opens; `checkpoint` is
    the log at the moment of the record.
    """

    data: bytes
    fields: Mapping[str, str]
    checkpoint: Checkpoint


class GatewayRefusal(SealgateError):
    """A call that the gateway refused, or that never reached it (CALL_FAILED).

    `code` is the gRPC status, `retry_after` the seconds that the gateway asks to wait, and
    `receipt` the verified proof of the refusal; each None where it did not come. `facts` are what
    the gateway says beside its reason: with STEP_UP, what a second person must allow.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        code: grpc.StatusCode,
        retry_after: float | None = None,
        receipt: CheckedReceipt | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, detail, facts=facts)
        self.code = code
        self.retry_after = retry_after
        self.receipt = receipt


class LogFork(SealgateError):
    """LOG_INCONSISTENT: a log signed two states of which neither grew out of the other.

    `notes` are the two signed checkpoints, the older first: show them to an auditor, for whoever
    holds the log's key cannot deny them.
    """

    def __init__(self, detail: str, notes: tuple[str, str]) -> None:
        super().__init__(Reason.LOG_INCONSISTENT, detail)
        self.notes = notes


def refusal_of(error: grpc.RpcError) -> GatewayRefusal:
    """Return the error that a failed call, sync or asyncio, stands for."""
    call: Any = error
    code: grpc.StatusCode = call.code()
    reason = reason_of(error)
    if reason is not None:
        detail = reason_name_of(error) if reason is Reason.REASON_UNKNOWN else ""
        return GatewayRefusal(reason, detail, code, retry_after_of(error), facts=facts_of(error))
    # Our own clock cuts a call off before the gateway can say so.
    late = code is grpc.StatusCode.DEADLINE_EXCEEDED
    reason = Reason.DEADLINE_TOO_SHORT if late else Reason.CALL_FAILED
    return GatewayRefusal(reason, f"{code.name}: {call.details()}", code)


def receipt_in(error: grpc.RpcError) -> bytes | None:
    """The receipt in a refusal's trailing metadata, unverified."""
    call: Any = error
    metadata: Iterable[tuple[str, str | bytes]] = call.trailing_metadata() or ()
    for key, value in metadata:
        if key == RECEIPT_METADATA and isinstance(value, bytes):
            return value
    return None


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


def forget_frames(error: BaseException | None) -> None:
    """Let go of the frames that an error went through, once it is told.

    They hold the call that failed, and some hold the error. In such a ring a call would last until
    garbage is collected, and gRPC would count it among its connection's streams until then.
    An error that is raised again `from` itself is its own cause.
    """
    told = set[int]()
    while error is not None and id(error) not in told:
        told.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def grpc_status(refusal: SealgateError, *metadata: tuple[str, str | bytes]) -> RichStatus:
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


def refusal_for(error: Exception) -> SealgateError:
    """Convert an exception of a handler. Generated servicers raise NotImplementedError for a method
    that they only inherit: RULE_MISSING, as for any other method that is not offered.
    """
    if isinstance(error, SealgateError):
        return error
    if isinstance(error, NotImplementedError):
        return SealgateError(Reason.RULE_MISSING, "not implemented")
    return SealgateError(Reason.INTERNAL, str(error))


def retry_after(refusal: SealgateError) -> float | None:
    """In how many seconds to try again; None where that is not said."""
    if refusal.reason.kind is not Kind.EXHAUSTED:
        return None
    return _RETRY_AFTER if refusal.retry is None else refusal.retry
