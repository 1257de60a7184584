"""The section `rights`: on which models and aliases a caller may act.

Without the section, roles alone decide. With it, each action needs one right that names the caller
(or one of the caller's roles), the action, the model and the alias. Rights only allow, so their
order has no meaning, and an empty section denies everything. `*` means all. Actions that name no
alias (a version by number, a publication, a revocation) or no model (a list of all) concern all of
them and need a `*`. Actions that concern no model follow from roles alone.

A right may have conditions: it then holds only on gateways of certain environments, or for models
of certain risk tiers. If environment or tier is unknown, such a right allows nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.fields import check_name
from sealgate.trust.policy.promotion_rules import EvidenceRules

WILDCARD = "*"
DEFAULT_ALIAS = "production"
"""The alias of a request that names neither an alias nor a version."""
STAFF_ROLES = frozenset({"auditor", "publisher", "approver", "admin"})
"""The roles of people who read all of what they may read."""
ACTION_ROLES: Mapping[str, frozenset[str]] = {
    "infer": frozenset({"client"}),
    # A client reports on its own answers, a monitor on everybody's.
    "report": frozenset({"client", "monitor"}),
    "metadata": STAFF_ROLES | {"client"},
    "read": STAFF_ROLES | {"monitor", "rollback", "events"},
    "publish": frozenset({"publisher"}),
    "attach": frozenset(EvidenceRules.ATTACHERS),
    "propose": frozenset({"publisher", "admin"}),
    "approve": frozenset({"approver"}),
    "promote": frozenset({"admin"}),
    "rollback": frozenset({"admin", "rollback"}),
    "revoke": frozenset({"admin"}),
}
"""Every action that is limited, with the roles of which it needs one in any case."""


@dataclass(frozen=True, slots=True)
class RequestedAction:
    """An action on a model and an alias, or on ALL of them.

    `environment` is the gateway's, `risk_tier` the model's; empty where not known.
    """

    action: str
    model: str = WILDCARD
    alias: str = WILDCARD
    environment: str = ""
    risk_tier: str = ""

    def __str__(self) -> str:
        return f"{self.action} on {self.model}/{self.alias}"


@dataclass(frozen=True, slots=True)
class Right:
    """Allows `actions` on `aliases` of `models` to `principals` and to holders of `roles`;
    `environments` and `risk_tiers` restrict it further.

    Raises SealgateError: DOCUMENT_MALFORMED, NAME_MALFORMED or POLICY_INVALID.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("principals", "roles", "actions", "models", "aliases")
    CONDITIONS: ClassVar[tuple[str, ...]] = ("environments", "risk_tiers")

    principals: tuple[str, ...]
    roles: tuple[str, ...]
    actions: tuple[str, ...]
    models: tuple[str, ...]
    aliases: tuple[str, ...]
    environments: tuple[str, ...] = ()
    risk_tiers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.FIELDS, *self.CONDITIONS):
            fields.unique(getattr(self, name))
        if not ((self.principals or self.roles) and self.actions and self.models and self.aliases):
            raise _invalid("a right that allows nobody, or nothing")
        if not {role for roles in ACTION_ROLES.values() for role in roles}.issuperset(self.roles):
            raise _invalid("a right names a role that calls nothing")
        if not ACTION_ROLES.keys() >= set(self.actions):
            raise _invalid("a right names an action that does not exist")
        for patterns in (self.models, self.aliases):
            if WILDCARD in patterns and len(patterns) > 1:
                raise _invalid("a right names something beside *")
            for pattern in patterns:
                if pattern != WILDCARD:
                    check_name(pattern)
        for name in (*self.environments, *self.risk_tiers):
            check_name(name)

    def names(self, principal: str, roles: Iterable[str]) -> bool:
        """Whether the right is for that principal, who has these roles."""
        return principal in self.principals or any(role in self.roles for role in roles)

    def covers(self, asked: RequestedAction) -> bool:
        """Whether the right is for that action on that model and alias, conditions apart."""
        return (
            asked.action in self.actions
            and (self.models == (WILDCARD,) or asked.model in self.models)
            and (self.aliases == (WILDCARD,) or asked.alias in self.aliases)
        )

    def unmet(self, asked: RequestedAction) -> str:
        """Return the condition that does not hold, in words; empty if all hold."""
        if self.environments and asked.environment not in self.environments:
            return f"environment {' or '.join(self.environments)}, not {_known(asked.environment)}"
        if self.risk_tiers and asked.risk_tier not in self.risk_tiers:
            return f"risk tier {' or '.join(self.risk_tiers)}, not {_known(asked.risk_tier)}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """The JSON value; a condition that there is not is left out."""
        conditions = [name for name in self.CONDITIONS if getattr(self, name)]
        return {name: list(getattr(self, name)) for name in (*self.FIELDS, *conditions)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        conditions = [name for name in cls.CONDITIONS if name in fields.mapping(value)]
        outer = fields.record(value, (*cls.FIELDS, *conditions))
        if not all(outer[name] for name in conditions):
            raise fields.malformed("a condition that names nothing is left out")
        return cls(**{name: fields.texts(texts) for name, texts in outer.items()})


@dataclass(frozen=True, slots=True)
class RightsDecision:
    """Whether it is allowed, and why. `right` is the number of the right that allows it, from 1."""

    allowed: bool
    why: str
    right: int | None = None


def allows(
    rights: tuple[Right, ...] | None, principal: str, roles: Iterable[str], asked: RequestedAction
) -> bool:
    """Whether the rights let a principal whose roles suffice do it."""
    return rights is None or any(
        right.covers(asked) and right.names(principal, roles) and not right.unmet(asked)
        for right in rights
    )


def decide_rights(
    rights: tuple[Right, ...] | None,
    principal: str,
    roles: tuple[str, ...],
    asked: RequestedAction,
) -> RightsDecision:
    """Return whether the call `asked` is allowed, with an explanation.

    1. One of the principal's roles must be one that the action needs.
    2. Without the section `rights`, that is all.
    3. With it, one right must name the principal and cover the action, and its conditions hold.

    Raises SealgateError(POLICY_INVALID) for an action that does not exist.
    """
    if asked.action not in ACTION_ROLES:
        raise _invalid("there is no such action")
    # 1.
    needed = ACTION_ROLES[asked.action]
    if needed.isdisjoint(roles):
        has = ", ".join(roles) or "no role"
        return RightsDecision(
            False, f"{asked.action} needs {' or '.join(sorted(needed))}, not {has}"
        )
    # 2.
    if rights is None:
        return RightsDecision(True, "the role is enough: the policy has no section rights")
    # 3.
    own = [n for n, right in enumerate(rights, 1) if right.names(principal, roles)]
    covering = [number for number in own if rights[number - 1].covers(asked)]
    unmet = {number: rights[number - 1].unmet(asked) for number in covering}
    for number in covering:
        if not unmet[number]:
            return RightsDecision(True, f"right {number} allows {asked}", number)
    if unmet:
        needs = "; ".join(f"right {number} asks for {words}" for number, words in unmet.items())
        return RightsDecision(False, f"{asked}: {needs}")
    if not own:
        return RightsDecision(False, f"no right names {principal} or a role of theirs")
    listed = ", ".join(map(str, own))
    return RightsDecision(False, f"no right of theirs ({listed}) covers {asked}")


def _known(name: str) -> str:
    return name or "one that is not known"


def _invalid(detail: str) -> SealgateError:
    return SealgateError(Reason.POLICY_INVALID, detail)


def check_known(rights: Iterable[Right], names: Collection[str], tiers: Collection[str]) -> None:
    """Check that the principals and the risk tiers that rights name exist.

    Raises SealgateError(POLICY_INVALID).
    """
    for right in rights:
        if not set(names) >= set(right.principals):
            raise _unknown("principal")
        if not set(tiers) >= set(right.risk_tiers):
            raise _unknown("risk tier")


def _unknown(what: str) -> SealgateError:
    return SealgateError(Reason.POLICY_INVALID, f"a right names a {what} that does not exist")
