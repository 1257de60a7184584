"""A call that a transport handed over, on its way to an answer (`gateway.transport.bursts`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gateway.admission import nothing
from gateway.calls.call import Call, CallLog, end_log
from gateway.pipeline import PendingRequest
from inference.batching import Pace
from inference.observability.tracing import CallSpan

Way: TypeAlias = tuple[Pace, int]
"""How calls go on: at a pace, behind others of the version that has it."""


@dataclass(slots=True, eq=False)
class ServedCall:
    """A call with what is known of it, also as an item of the fair queue. `leave` ends what its
    quotas and limits count.
    """

    context: Any
    call: Call
    log: CallLog
    began: int
    span: CallSpan | None
    leave: Callable[[], None] = nothing
    pending: PendingRequest | None = None
    rows: int = 1
    urgent: bool = False
    caller: str = ""
    bucket: int = field(default=0, init=False)

    def end(self, tell: Callable[[], None]) -> None:
        """End the call: what is counted of it is, before its caller hears."""
        try:
            self.leave()
            end_log(self.log, self.call, self.began, self.span)
        finally:
            tell()


Ways: TypeAlias = dict[Way, list[ServedCall]]
QUICK: Way = (Pace.QUICK, 0)
"""Calls of quick versions go together."""


def way_of(pending: PendingRequest) -> Way:
    """That of its version, which lives at least as long as a request for it."""
    if pending.live is None or pending.pace is Pace.QUICK:
        return QUICK
    return pending.pace, id(pending.live.ready)
