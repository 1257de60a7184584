"""The sections `health` and `outcomes`: limits to an alias's calls, and to what was true of them.

The section names models, or `*` for those that it does not name, and their aliases. A service that
has the role `rollback`, and is no admin, may return exactly these aliases. A policy without the
section limits nothing, and leaves such a service every alias.

    {"credit": {"groups": {"age": ["under-40", "from-40"]},
                "aliases": {"production": {"window_seconds": 604800, "minimum_outcomes": 500,
                                           "accuracy_percent": 90, "action": "rollback"}}}}

The section names models, or `*` for those that it does not name. Outcomes of other models are not
taken. `groups` are the attributes that a report may state, each with its values; `aliases` may be
empty: outcomes are then counted, and nothing follows. Both may be left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.fields import check_name
from sealgate.trust.policy.principals import Consequence
from sealgate.trust.policy.rights import WILDCARD

_SIZES = ("window_seconds", "minimum_requests")
_LONGEST_WINDOW = 86400
_OUTCOME_SIZES = ("window_seconds", "minimum_outcomes", "action")
_LONGEST_OUTCOMES = 400 * 86400
# Of a promotion a gateway keeps so many at least: a limit that needs more would never act.
_MOST_OUTCOMES = 1 << 15
_MOST_ATTRIBUTES = 8
_MOST_GROUPS = 32


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Limits for a window of `window_seconds` that holds at least `minimum_requests`.

    `error_percent`: requests that the version failed. `p99_ms`: milliseconds within which 99 of 100
    are screened and run. `screening_percent`: requests found suspect or adversarial.
    `disagreement_percent`: answers that differ from those of the version compared with.
    `golden_failures`: checks in a row whose golden answers differ, by which a service of the role
    `rollback` may return the alias; no window and no number of requests is asked of them. None sets
    no limit. Raises SealgateError(DOCUMENT_MALFORMED).
    """

    window_seconds: int
    minimum_requests: int
    error_percent: int | None = None
    p99_ms: int | None = None
    screening_percent: int | None = None
    disagreement_percent: int | None = None
    golden_failures: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= fields.integer(self.window_seconds) <= _LONGEST_WINDOW:
            raise fields.malformed("a window lasts a second to a day")
        fields.integer(self.minimum_requests, 1)
        limits = (self.error_percent, self.screening_percent, self.disagreement_percent)
        for percent in filter(None, limits):
            if fields.integer(percent) > 100:
                raise fields.malformed("a limit is a percentage")
        for least in (self.p99_ms, self.golden_failures):
            if least is not None:
                fields.integer(least, 1)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(**_limits(value, cls.__slots__, _SIZES))


@dataclass(frozen=True, slots=True)
class HealthRules:
    """`models`: model or `*`, then alias, to its limits. Raises SealgateError like `HealthLimits`,
    and NAME_MALFORMED.
    """

    models: Mapping[str, Mapping[str, HealthLimits]]

    def __post_init__(self) -> None:
        for model, aliases in self.models.items():
            for name in (*aliases, *(() if model == WILDCARD else (model,))):
                check_name(name)

    def limits(self, model: str, alias: str) -> HealthLimits | None:
        """Return the limits of an alias: those of its model, if the section names it."""
        aliases = self.models.get(model, self.models.get(WILDCARD, {}))
        return aliases.get(alias)

    def to_json(self) -> dict[str, Any]:
        return {
            model: {alias: limits.to_json() for alias, limits in aliases.items()}
            for model, aliases in self.models.items()
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        models = {
            model: {
                alias: HealthLimits.from_json(limits)
                for alias, limits in fields.mapping(aliases).items()
            }
            for model, aliases in fields.mapping(value).items()
        }
        return cls(models)


@dataclass(frozen=True, slots=True)
class OutcomeLimits:
    """Limits for the outcomes reported within `window_seconds`, at least `minimum_outcomes`.

    `accuracy_percent`: the least share of answers that were right. `ece_percent`: the largest
    expected calibration error. `group_gap_percent`: the largest difference between the error rates
    of two groups that have so many outcomes each. `psi_percent`: the largest population stability
    index of a column, in hundredths, over so many rows at least. None sets no limit. Beyond one,
    `action` says what follows. Raises SealgateError(DOCUMENT_MALFORMED).
    """

    window_seconds: int
    minimum_outcomes: int
    action: str
    accuracy_percent: int | None = None
    ece_percent: int | None = None
    group_gap_percent: int | None = None
    psi_percent: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= fields.integer(self.window_seconds) <= _LONGEST_OUTCOMES:
            raise fields.malformed("a window lasts a second to 400 days")
        if fields.integer(self.minimum_outcomes, 1) > _MOST_OUTCOMES:
            raise fields.malformed(f"a limit needs at most {_MOST_OUTCOMES} outcomes")
        if self.action not in (Consequence.ALARM, Consequence.ROLLBACK):
            raise fields.malformed("a limit alarms or rolls back")
        for percent in (self.accuracy_percent, self.ece_percent, self.group_gap_percent):
            if percent is not None and fields.integer(percent) > 100:
                raise fields.malformed("a limit is a percentage")
        if self.psi_percent is not None:
            fields.integer(self.psi_percent, 1)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(**_limits(value, cls.__slots__, _OUTCOME_SIZES))


@dataclass(frozen=True, slots=True)
class ModelOutcomes:
    """The reported outcomes of one model: `groups`, attribute to values, and the limits of its
    `aliases`.

    Raises SealgateError: DOCUMENT_MALFORMED, NAME_MALFORMED.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[str, OutcomeLimits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.groups) > _MOST_ATTRIBUTES:
            raise fields.malformed(f"groups have at most {_MOST_ATTRIBUTES} attributes")
        for attribute, values in self.groups.items():
            if not 2 <= len(fields.unique(values)) <= _MOST_GROUPS:
                raise fields.malformed(f"an attribute tells 2 to {_MOST_GROUPS} groups apart")
            for name in (attribute, *values):
                check_name(name)
        for alias in self.aliases:
            check_name(alias)

    def to_json(self) -> dict[str, Any]:
        found = {
            "groups": {name: list(values) for name, values in self.groups.items()},
            "aliases": {alias: limits.to_json() for alias, limits in self.aliases.items()},
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_json(cls, value: object) -> Self:
        stated = [name for name in cls.__slots__ if name in fields.mapping(value)]
        given = fields.record(value, stated)
        if not all(given.values()):
            raise fields.malformed("what names nothing is left out")
        groups = fields.mapping(given.get("groups", {})).items()
        aliases = fields.mapping(given.get("aliases", {})).items()
        return cls(
            {attribute: fields.texts(values) for attribute, values in groups},
            {alias: OutcomeLimits.from_json(limits) for alias, limits in aliases},
        )


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """`models`: model or `*` to what is taken of it. Raises SealgateError like `ModelOutcomes`."""

    models: Mapping[str, ModelOutcomes]

    def __post_init__(self) -> None:
        for model in self.models.keys() - {WILDCARD}:
            check_name(model)

    def of(self, model: str) -> ModelOutcomes | None:
        """The rules for a model's outcomes, by its own name if the section has it, or None."""
        return self.models.get(model, self.models.get(WILDCARD))

    def returned(self) -> list[tuple[str, str]]:
        """The (model or `*`, alias) that a limit rolls back."""
        return [
            (model, alias)
            for model, rules in self.models.items()
            for alias, limits in rules.aliases.items()
            if limits.action == Consequence.ROLLBACK
        ]

    def to_json(self) -> dict[str, Any]:
        return {model: rules.to_json() for model, rules in self.models.items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        given = fields.mapping(value).items()
        return cls({model: ModelOutcomes.from_json(rules) for model, rules in given})


def _limits(value: object, names: Iterable[str], sizes: tuple[str, ...]) -> dict[str, Any]:
    """A record with all `sizes`, and with one limit or more of the other `names`."""
    record = fields.mapping(value)
    limits = [name for name in names if name not in sizes and name in record]
    record = fields.record(record, (*sizes, *limits))
    if not limits or None in record.values():
        raise fields.malformed("limits name what they limit")
    return record
