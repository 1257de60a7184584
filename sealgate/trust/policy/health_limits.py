"""The section `health`: limits within which an alias counts as healthy.

The section names models, or `*` for those that it does not name, and their aliases. A service that
has the role `rollback`, and is no admin, may return exactly these aliases. A policy without the
section limits nothing, and leaves such a service every alias.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from sealgate.trust import fields
from sealgate.trust.fields import check_name
from sealgate.trust.policy.rights import ALL

_SIZES = ("window_seconds", "minimum_requests")
_LONGEST_WINDOW = 86400


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
        record = fields.mapping(value)
        limits = [name for name in cls.__slots__ if name not in _SIZES and name in record]
        record = fields.record(record, (*_SIZES, *limits))
        if not limits or None in record.values():
            raise fields.malformed("limits name what they limit")
        return cls(**record)


@dataclass(frozen=True, slots=True)
class HealthRules:
    """`models`: model or `*`, then alias, to its limits. Raises SealgateError like `HealthLimits`,
    and NAME_MALFORMED.
    """

    models: Mapping[str, Mapping[str, HealthLimits]]

    def __post_init__(self) -> None:
        for model, aliases in self.models.items():
            for name in (*aliases, *(() if model == ALL else (model,))):
                check_name(name)

    def limits(self, model: str, alias: str) -> HealthLimits | None:
        """Return the limits of an alias: those of its model, if the section names it."""
        aliases = self.models.get(model, self.models.get(ALL, {}))
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
