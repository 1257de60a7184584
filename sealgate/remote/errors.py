"""The errors of a failed call, with everything that the gateway said about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from sealgate.reasons import Reason, Refusal
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


class GatewayRefusal(Refusal):
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


class LogFork(Refusal):
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
