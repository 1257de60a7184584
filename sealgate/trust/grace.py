"""When a policy counts: from its issue to its end, and what stands in a grace after it.

The section `grace` of a policy, `{"seconds": 604800}`, says for how long after `expires` what
stands goes on: answers, statements of freshness, rollbacks, revocations. Nothing new is promoted
then, and the gateway says that the policy has expired. Without the section everything ends at
`expires`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sealgate.reasons import Reason, Refusal
from sealgate.trust import fields
from sealgate.trust.policy_parts import invalid
from sealgate.trust.times import parse_time

LONGEST = timedelta(days=30)
# How far the clock of whoever issued a policy may run ahead of ours.
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Grace:
    """How long what stands goes on after `expires`, in seconds; see the module.

    Raises Refusal: DOCUMENT_MALFORMED, or POLICY_INVALID beyond LONGEST.
    """

    seconds: int

    def __post_init__(self) -> None:
        if fields.integer(self.seconds) > LONGEST.total_seconds():
            raise invalid(f"its grace is longer than {LONGEST.days} days")

    def to_json(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(fields.integer(fields.record(value, ("seconds",))["seconds"], 1))


NO_GRACE = Grace(0)


def check_unexpired(expires: str, now: datetime) -> None:
    """For what is new: raises Refusal(POLICY_EXPIRED) from `expires` on, whatever the grace."""
    if now >= parse_time(expires):
        raise Refusal(Reason.POLICY_EXPIRED, f"at {expires}")


def check_standing(expires: str, grace: Grace, now: datetime) -> None:
    """For what stands: raises Refusal(POLICY_EXPIRED) once the grace after `expires` is over."""
    # A policy may end on the last day that there is, so nothing is added to that.
    check_unexpired(expires, now - timedelta(seconds=grace.seconds))


def check_begun(issued: str, now: datetime) -> None:
    """Raises Refusal(POLICY_INVALID) where `issued` lies ahead.

    No clock is believed that is behind a signed time, so such a policy would end every shorter
    statement at once, and for good.
    """
    if parse_time(issued) > now + _CLOCK_SKEW:
        raise invalid(f"it is issued at {issued}, which is to come")
