"""Risk tiers: how much harm a model may do, and how many people a promotion needs for that.

A policy without the section `risk` knows no tiers. With it, a model that the section does not name
counts as one of the strictest tier where people are counted, and as one of no tier where a right
names tiers: what nobody has judged is not thought harmless.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.names import check_name

UNKNOWN = ""
"""The tier of a model that the policy does not judge; no tier is called so."""


@dataclass(frozen=True, slots=True)
class Risk:
    """`models`: model to its tier. `approvals`: tier, then alias, to the number of people who must
    approve at least. Raises Refusal: DOCUMENT_MALFORMED or NAME_MALFORMED.
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
