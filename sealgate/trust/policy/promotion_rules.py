"""The sections `risk`, `evidence`, `rejections`, `review`: what a promotion needs, what stops it.

`risk` gives models a risk tier. A model that the section does not name counts as one of the
strictest tier when approvals are counted, and as one of no tier when a right names tiers. A policy
without the section knows no tiers.

`evidence` names the kinds of evidence that a proposal must carry, and the roles that may make them.

`rejections` says what an approver's rejection stops. Without the section it stops the promotion.

`security_keys` names the risk tiers that ask for an approval made without a browser.

`review` says how long approvals count, by risk tier, and who owns a model. An approval that is
older no longer lets a version be promoted. A version that is live already goes on answering, and
alarms: to stop it would be an outage that a date decides. A new proposal of the same version,
approved anew, renews it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.fields import check_name

UNKNOWN = ""
"""The tier of a model that the policy does not judge; no tier is called so."""
_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class RiskTiers:
    """`models`: model to its tier. `approvals`: tier, then alias, to the number of people who must
    approve at least. Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    models: Mapping[str, str]
    approvals: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        for name in (*self.models, *self.models.values(), *self.approvals):
            check_name(name)
        for numbers in self.approvals.values():
            for alias, number in numbers.items():
                check_name(alias)
                fields.integer(number, 1)

    @property
    def tiers(self) -> frozenset[str]:
        """Every tier that is named."""
        return frozenset({*self.models.values(), *self.approvals})

    def tier(self, model: str) -> str:
        """Return the model's tier, or UNKNOWN."""
        return self.models.get(model, UNKNOWN)

    def approvals_for(self, alias: str, model: str) -> int:
        """Return how many people the tier asks for, 0 where it asks for none in particular."""
        tier = self.tier(model)
        judged = self.approvals.values() if tier == UNKNOWN else [self.approvals.get(tier, {})]
        return max((numbers.get(alias, 0) for numbers in judged), default=0)

    def to_json(self) -> dict[str, Any]:
        approvals = {tier: dict(numbers) for tier, numbers in self.approvals.items()}
        return {"models": dict(self.models), "approvals": approvals}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("models", "approvals"))
        models = {name: fields.text(tier) for name, tier in fields.mapping(outer["models"]).items()}
        approvals = fields.mapping(outer["approvals"])
        return cls(models, {tier: fields.mapping(item) for tier, item in approvals.items()})


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """`makers`: each kind that must be there, to the roles of which its maker has one.

    Raises SealgateError: DOCUMENT_MALFORMED, NAME_MALFORMED or POLICY_INVALID.
    """

    MAKERS: ClassVar[tuple[str, ...]] = ("publisher", "evidence")
    """The roles of which a maker has one in any case."""
    RED_TEAM: ClassVar[str] = "red-team"
    """The kind of a report on attacks by whoever decides on a version, or is to be told of it."""
    OUTCOME_REPORT: ClassVar[str] = "outcome-report"
    """The kind of a report on what was true of a version's answers."""
    ATTACHED: ClassVar[frozenset[str]] = frozenset({RED_TEAM, OUTCOME_REPORT})
    """The kinds that come after the version, beside what a proposal names."""
    ATTACHERS: ClassVar[tuple[str, ...]] = ("publisher", "approver", "admin")
    """The roles of which the maker of such an item has one."""

    makers: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for kind, roles in self.makers.items():
            check_name(kind)
            if not fields.unique(roles) or not set(roles) <= set(EvidenceRules.MAKERS):
                raise SealgateError(
                    Reason.POLICY_INVALID, f"evidence {kind} is made by no such role"
                )

    def check_kinds(self, kinds: Iterable[str]) -> None:
        """Raises SealgateError(EVIDENCE_MISSING) where one of the kinds is not among them."""
        missing = sorted(self.makers.keys() - set(kinds))
        if missing:
            raise SealgateError(Reason.EVIDENCE_MISSING, ", ".join(missing))

    def check_maker(self, kind: str, roles: Iterable[str]) -> None:
        """Raises SealgateError(ROLE_TOO_LOW) if none of these roles may make that kind of
        evidence.
        """
        if set(self.makers.get(kind, EvidenceRules.MAKERS)).isdisjoint(roles):
            raise SealgateError(Reason.ROLE_TOO_LOW, f"evidence {kind}")

    def to_json(self) -> dict[str, Any]:
        return {kind: list(roles) for kind, roles in self.makers.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls({kind: fields.texts(roles) for kind, roles in fields.mapping(value).items()})


PROMOTION, SERVING = "promotion", "serving"


@dataclass(frozen=True, slots=True)
class RejectionRules:
    """`stops`: `promotion`, so that a rejection counts until the alias moves; or `serving`, so that
    it also takes a version out of service that the proposal has already brought into it.

    Raises SealgateError(POLICY_INVALID).
    """

    stops: str

    def __post_init__(self) -> None:
        if self.stops not in (PROMOTION, SERVING):
            raise SealgateError(Reason.POLICY_INVALID, "a rejection stops something unknown")

    def to_json(self) -> dict[str, Any]:
        return {"stops": self.stops}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(fields.text(fields.record(value, ("stops",))["stops"]))


@dataclass(frozen=True, slots=True)
class _TierRules:
    """Rules for the models of some risk tiers. Raises: DOCUMENT_MALFORMED or NAME_MALFORMED."""

    tiers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.tiers:
            raise fields.malformed("a section that names no tier")
        for tier in fields.unique(self.tiers):
            check_name(tier)

    def to_json(self) -> dict[str, Any]:
        return {"tiers": list(self.tiers)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(fields.texts(fields.record(value, ("tiers",))["tiers"]))


class SecurityKeyRules(_TierRules):
    """`tiers`: the risk tiers of which a promotion needs at least one approval that was made with a
    security key and without a browser. A model of no known tier counts as one of them.

    Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    __slots__ = ()

    def demand(self, tier: str) -> bool:
        """Say whether a promotion of a model of that tier needs such an approval."""
        return tier == UNKNOWN or tier in self.tiers


class UnscreenedRules(_TierRules):
    """`tiers`: the risk tiers of which a model may answer without screening. A model of no known
    tier is none of them.

    Raises SealgateError: DOCUMENT_MALFORMED or NAME_MALFORMED.
    """

    __slots__ = ()


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


def approval_end(approved: datetime, days: int) -> datetime:
    """Until when an approval of that time counts."""
    return approved + timedelta(days=days)
