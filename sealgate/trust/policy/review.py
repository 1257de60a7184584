"""The section `review`: how long approvals count, by risk tier, and who owns a model.

An approval that is older no longer lets a version be promoted. What is live already goes on
answering, and alarms: to stop it would be an outage that a date decides. A new proposal of the same
version, approved anew, renews it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.fields import check_name
from sealgate.trust.policy.promotion_rules import UNKNOWN

_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """`days`: risk tier to the days for which an approval counts; of a tier that is not named, it
    counts without end. A model of no known tier is reviewed as often as the strictest tier.
    `owners`: model to the principal who answers for it.

    Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    days: Mapping[str, int]
    owners: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in (*self.days, *self.owners, *self.owners.values()):
            check_name(name)
        for number in self.days.values():
            if fields.integer(number, 1) > _MOST_DAYS:
                raise fields.malformed("approvals that count for more than ten years")

    def days_of(self, tier: str) -> int | None:
        """For how many days an approval of a model of the tier counts; None without end."""
        if tier == UNKNOWN:
            return min(self.days.values(), default=None)
        return self.days.get(tier)

    def check_owners(self, people: Iterable[str]) -> None:
        """Raises SealgateError(POLICY_INVALID) where an owner is none of these."""
        if strangers := sorted({*self.owners.values()} - {*people}):
            raise SealgateError(Reason.POLICY_INVALID, f"an owner is nobody: {strangers[0]}")

    def to_json(self) -> dict[str, Any]:
        return {"days": dict(self.days), "owners": dict(self.owners)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("days", "owners"))
        owners = fields.mapping(outer["owners"])
        named = {model: fields.text(owner) for model, owner in owners.items()}
        return cls(fields.mapping(outer["days"]), named)


def end_of(approved: datetime, days: int) -> datetime:
    """Until when an approval of that time counts."""
    return approved + timedelta(days=days)
