"""Batching limits: those signed with the version, and the operator's stricter ones.

    {"max_rows", "delay_us", "queue_rows",
     "preferred_rows": [...], "timeout_us", "priority_levels", "instances", "wait_us"}

The last five may be absent. Then no size is preferred, a request may take as long as its caller
allows, urgent requests overtake, the number of cores limits how many batches run at once, and
requests that would wait for more than `WAIT_SECONDS` are refused.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Self

from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.trust import fields
from sealgate.trust.fields import check_name

_REQUIRED = ("max_rows", "delay_us", "queue_rows")
_OPTIONAL = ("preferred_rows", "timeout_us", "priority_levels", "instances", "wait_us")
# All but the first: each is a number, 0 if absent.
_NUMBERS = _OPTIONAL[1:]
_LONGEST_US = 3600 * 10**6
_MOST_INSTANCES = 1024
RUN_SECONDS = 30.0
"""How long a run may take, unless the operator says otherwise."""
WAIT_SECONDS = 0.5
"""How long a request may have to wait in the queue, unless somebody says otherwise: an answer that
comes late is worth less than a refusal that says when to come again."""
LEVELS = 2
"""Levels of priority that a queue has: urgent and ordinary."""


class Pace(Enum):
    """How long a thread is kept that has a version run."""

    QUICK = "microseconds: a burst runs on the thread that brings it"
    SLOW = "milliseconds: a burst runs on a thread of its own"
    AWAY = "another process runs it: a burst waits on a thread of its own, and ends bit by bit"
    ALONE = "nobody knows: each request has a thread of its own"


@dataclass(frozen=True, slots=True)
class Batching:
    """The signed batching limits: at most `max_rows` per batch, which waits at most `delay_us`.

    The queue is bounded. If a batch could have one of the `preferred_rows`, ascending, it takes no
    more than the largest of them. `timeout_us` bounds a request, in queue and run. With one of
    `priority_levels` there are no priorities. At most `instances` batches run at once. 0 and ()
    mean "not stated".
    """

    max_rows: int
    delay_us: int
    queue_rows: int
    preferred_rows: tuple[int, ...] = ()
    timeout_us: int = 0
    priority_levels: int = 0
    instances: int = 0
    wait_us: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= self.queue_rows <= 2**20 or not 0 <= self.delay_us <= 10**6:
            raise fields.malformed(
                "a batch must be positive, fit its queue and wait less than a second"
            )
        ascending = sorted(set(self.preferred_rows))
        if list(self.preferred_rows) != ascending or len(ascending) > 64:
            raise fields.malformed("preferred sizes ascend, and are 64 at most")
        if ascending and not 1 <= ascending[0] <= ascending[-1] <= self.max_rows:
            raise fields.malformed("a preferred size is that of a batch")
        if (
            not 0 <= max(self.timeout_us, self.wait_us) <= _LONGEST_US
            or not 0 <= self.instances <= _MOST_INSTANCES
        ):
            raise fields.malformed("a time is an hour at most, and instances are 1024 at most")
        if not 0 <= self.priority_levels <= LEVELS:
            raise fields.malformed(f"there are {LEVELS} levels of priority at most")

    def encode(self) -> dict[str, Any]:
        """The section of `model.json`, without what is not stated."""
        stated = [name for name in _OPTIONAL if getattr(self, name)]
        value = {name: getattr(self, name) for name in (*_REQUIRED, *stated)}
        if self.preferred_rows:
            value["preferred_rows"] = list(self.preferred_rows)
        return value

    @classmethod
    def decode(cls, value: Any) -> "Batching":
        """Read what `encode` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
        stated = [name for name in _OPTIONAL if isinstance(value, dict) and name in value]
        item = fields.record(value, (*_REQUIRED, *stated))
        preferred: tuple[int, ...] = ()
        if "preferred_rows" in stated:
            preferred = tuple(fields.integer(size) for size in fields.items(item["preferred_rows"]))
        numbers = {name: fields.integer(item[name], least=1) for name in stated if name in _NUMBERS}
        batching = cls(
            max_rows=fields.integer(item["max_rows"]),
            delay_us=fields.integer(item["delay_us"]),
            queue_rows=fields.integer(item["queue_rows"]),
            preferred_rows=preferred,
            **numbers,
        )
        if batching.encode().keys() != item.keys():
            raise fields.malformed("stated fields of batching must not be empty")
        return batching


@dataclass(frozen=True, slots=True)
class BatchingBounds:
    """The operator's bounds for the batches of one model, or of all.

    The lowest of the version's own limits and all such sections applies. Without a bound, or with
    0, the version's own counts.
    """

    model: str = ""
    """The model; without it the bounds are for all models."""
    max_rows: int = 0
    """Rows to a batch."""
    delay_us: int = 0
    """How long a batch may wait for more, in microseconds. 1 practically means no delay."""
    queue_rows: int = 0
    """Rows that may wait, to each level of priority."""
    timeout_us: int = 0
    """The longest time of a request, in queue and run, in microseconds."""
    priority_levels: int = 0
    """With 1, there are no priorities."""
    instances: int = 0
    """Batches that run at once."""
    wait_us: int = 0
    """How long a request may have to wait in the queue, as measured, in microseconds; others are
    refused. Half a second where nobody states it."""
    run_seconds: float = 0.0
    """A longer run is considered hung and is ended."""

    def __post_init__(self) -> None:
        times = dict.fromkeys(("timeout_us", "wait_us"), _LONGEST_US)
        most = times | {"priority_levels": LEVELS, "instances": _MOST_INSTANCES}
        for name, limit in most.items():
            if getattr(self, name) > limit:
                raise ConfigError(f"[[batching]] {name} is {limit} at most")
        try:
            check_name(self.model or "all")
        except SealgateError:
            raise ConfigError(
                f"[[batching]] model = {self.model!r} is not of the form [a-z][a-z0-9-]{{0,62}}"
            ) from None

    def tighten(self, batching: Batching) -> Batching:
        """The lower of each bound; preferred sizes that no longer fit are dropped."""
        queue = _lower(batching.queue_rows, self.queue_rows)
        most = min(queue, _lower(batching.max_rows, self.max_rows))
        return replace(
            batching,
            max_rows=most,
            queue_rows=queue,
            # No delay is the least of all.
            delay_us=batching.delay_us and _lower(batching.delay_us, self.delay_us),
            preferred_rows=tuple(size for size in batching.preferred_rows if size <= most),
            timeout_us=_lower(batching.timeout_us, self.timeout_us),
            priority_levels=_lower(batching.priority_levels, self.priority_levels),
            instances=_lower(batching.instances, self.instances),
            wait_us=_lower(batching.wait_us, self.wait_us),
        )


@dataclass(frozen=True, slots=True)
class OperatorBounds:
    """All sections `[[batching]]`. Raises: ConfigError if two are for the same model."""

    sections: tuple[BatchingBounds, ...] = ()

    def __post_init__(self) -> None:
        models = [section.model for section in self.sections]
        if len(set(models)) != len(models):
            raise ConfigError("[[batching]] names a model twice; join the two sections")

    def tighten(self, model: str, batching: Batching) -> Batching:
        """The limits of `model` after its own configuration and every section for it."""
        for section in self._of(model):
            batching = section.tighten(batching)
        return batching

    def run_seconds(self, model: str) -> float:
        """How long a run of `model` may take."""
        stated = [section.run_seconds for section in self._of(model) if section.run_seconds]
        return min(stated, default=RUN_SECONDS)

    def _of(self, model: str) -> list[BatchingBounds]:
        return [section for section in self.sections if section.model in ("", model)]


NO_BOUNDS = OperatorBounds()


def _lower(own: int, bound: int) -> int:
    """The lower of two bounds, where 0 means none."""
    return min(own, bound) if own and bound else own or bound


@dataclass(frozen=True, slots=True)
class BatcherLimits:
    """Limits of a batcher: rows per batch and per queue level, seconds of waiting, parallel runs.

    `preferred` are sizes, ascending: a batch that could have one takes no more than the largest
    such. A request may take `timeout` seconds in all, and at `levels` 1 none overtakes. Beyond two
    batches, a level takes no more rows than are run in `wait` seconds, as measured.
    """

    max_rows: int
    queue_rows: int
    delay: float = 0.0
    lanes: int = 1
    preferred: tuple[int, ...] = ()
    timeout: float | None = None
    levels: int = LEVELS
    wait: float | None = None

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.queue_rows < 1 or self.lanes < 1 or self.delay < 0:
            raise ValueError("limits must be positive")

    @classmethod
    def of(cls, batching: Batching, lanes: int) -> Self:
        """The limits that `batching` states, on a machine with `lanes` parallel runs."""
        return cls(
            batching.max_rows,
            batching.queue_rows,
            batching.delay_us / 1e6,
            min(lanes, batching.instances or lanes),
            batching.preferred_rows,
            batching.timeout_us / 1e6 or None,
            batching.priority_levels or LEVELS,
            batching.wait_us / 1e6 or WAIT_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class BatcherCounts:
    """A batcher's counts so far.

    `dropped` requests ran out of time, lost their caller, made room, or were in a batch that
    failed. `waited_ns` is how long the others took, together, from their arrival until they ran.
    `waiting` rows wait at this moment.
    """

    requests: int = 0
    batches: int = 0
    rows: int = 0
    dropped: int = 0
    waited_ns: int = 0
    waiting: int = 0

    def __add__(self, other: "BatcherCounts") -> "BatcherCounts":
        return BatcherCounts(
            self.requests + other.requests,
            self.batches + other.batches,
            self.rows + other.rows,
            self.dropped + other.dropped,
            self.waited_ns + other.waited_ns,
            self.waiting + other.waiting,
        )
