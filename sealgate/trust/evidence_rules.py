"""Which evidence a proposal must carry, and who may make it.

A policy without the section `evidence` asks for none in particular. Other kinds than those it names
may come too, from any maker. A pointer shows the digests of its evidence alone, so an engine checks
the kinds; who made them, the registry and each approver's machine check.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sealgate.reasons import Reason, Refusal
from sealgate.trust import fields
from sealgate.trust.names import check_name

MAKERS = ("publisher", "evidence")
"""The roles of which a maker has one in any case."""
RED_TEAM = "red-team"
"""The kind of a report on attacks by whoever decides on a version, or is to be told of it."""
ATTACHED = frozenset({RED_TEAM})
"""The kinds that come after the version, beside what a proposal names."""
ATTACHERS = ("publisher", "approver", "admin")
"""The roles of which the maker of such an item has one."""


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """`makers`: each kind that must be there, to the roles of which its maker has one.

    Raises Refusal: DOCUMENT_MALFORMED, NAME_MALFORMED or POLICY_INVALID.
    """

    makers: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for kind, roles in self.makers.items():
            check_name(kind)
            if not fields.unique(roles) or not set(roles) <= set(MAKERS):
                raise Refusal(Reason.POLICY_INVALID, f"evidence {kind} is made by no such role")

    def check_kinds(self, kinds: Iterable[str]) -> None:
        """Raises Refusal(EVIDENCE_MISSING) where one of the kinds is not among them."""
        missing = sorted(self.makers.keys() - set(kinds))
        if missing:
            raise Refusal(Reason.EVIDENCE_MISSING, ", ".join(missing))

    def check_maker(self, kind: str, roles: Iterable[str]) -> None:
        """Raises Refusal(ROLE_TOO_LOW) where whoever has these roles may not make that kind."""
        if set(self.makers.get(kind, MAKERS)).isdisjoint(roles):
            raise Refusal(Reason.ROLE_TOO_LOW, f"evidence {kind}")

    def to_json(self) -> dict[str, Any]:
        return {kind: list(roles) for kind, roles in self.makers.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls({kind: fields.texts(roles) for kind, roles in fields.mapping(value).items()})
