"""The live table: an immutable view of aliases and versions, read by requests without locks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, Self, runtime_checkable

import numpy.typing as npt

from inference.batching import DEFAULT_OPTIONS, BatcherCounts, Pace, QueueItem, RequestOptions
from inference.engine.result import InferenceResult
from inference.engine.statistics import Duration, Statistics, VersionStatistics
from inference.engine.trust_state import Place
from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import DEFAULT_ALIAS, SHADOW_ALIAS, Policy
from sealgate.trust.statements import PointerBundle


class ServableVersion(Protocol):
    """A version that is ready to answer, in this process or in another."""

    @property
    def digest(self) -> str: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def engine(self) -> str:
        """Where it runs, and whether its digest is checked there."""
        ...

    @property
    def arithmetic(self) -> str:
        """Its number format, one of `sealgate.trust.receipts.answer_entry.ARITHMETICS`; empty if
        unknown.
        """
        ...

    @property
    def detector(self) -> Detector:
        """The detector that judges its rows."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Where requests of this version are counted."""
        ...

    def counts(self) -> BatcherCounts:
        """The batcher's counts since the version was loaded."""
        ...

    def submit(
        self,
        x: npt.NDArray[Any],
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> InferenceResult:
        """Screen and run the rows of `x`; see `Engine.infer`, which calls this."""
        ...

    def submit_all(
        self, requests: Sequence[tuple[npt.NDArray[Any], RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        """Screen and run a burst of requests; return for each its result, or why there is none."""
        ...

    @property
    def pace(self) -> Pace: ...

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DRAINING and wait for the others. False if time ran out."""
        ...


@runtime_checkable
class PartedVersion(Protocol):
    """A version whose answers to a burst come one after another."""

    def submit_parts(
        self, requests: Sequence[tuple[npt.NDArray[Any], RequestOptions]]
    ) -> Iterator[Sequence[tuple[int, InferenceResult | SealgateError]]]:
        """Run a burst of requests; yield the place of each in it, with its result or why there is
        none, as these come.
        """
        ...


@runtime_checkable
class QueuedVersion(Protocol):
    """A version whose requests wait in this process."""

    def refusal_of(self, request: QueueItem, ahead: Sequence[QueueItem]) -> SealgateError | None:
        """QUEUE_FULL if a request like this one would not be queued now, behind those `ahead`; None
        if it would.
        """
        ...


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """A version that an alias names, with the fields that its audit records need.

    `digest` is the version's, `pointer` the pointer's, `policy` that of the policy under which the
    pointer was verified last, from the signed documents in `bundle`. `until` is when it is no
    longer covered, in seconds of the epoch. `share` is the alias's share of production's requests,
    in percent (`sealgate.trust.policy.shares`). A `LiveVersion` can still answer after its alias
    has moved.
    """

    model: str
    alias: str
    version: int
    digest: str
    sequence: int
    pointer: str
    policy: str
    until: float
    ready: ServableVersion
    bundle: PointerBundle
    share: int = 0

    @property
    def config(self) -> ModelConfig:
        return self.ready.config

    @property
    def threshold(self) -> float:
        """Above this score a row is adversarial."""
        return self.ready.detector.threshold

    @property
    def statistics(self) -> Statistics:
        """Where requests of this version are counted."""
        return self.ready.statistics

    def report(self) -> VersionStatistics:
        """The version's statistics since it was loaded."""
        counts = self.ready.counts()
        return self.statistics.report(Duration(counts.requests, counts.waited_ns))


@dataclass(frozen=True, slots=True)
class ClosedAlias:
    """An alias that cannot answer, and why. `version` is 0 if unknown."""

    version: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class IndexedVersion:
    """A version that a pointer names: it answers, or `reason` says why not. 0: unknown."""

    model: str
    version: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class LiveTable:
    """Aliases and versions by name. `floor` and `policy_until` are in seconds of the epoch.

    `floor` is the latest time in a signed document. If the clock is earlier, `floor` is used.
    """

    policy: Policy | None
    policy_until: float
    floor: float
    lives: Mapping[Place, LiveVersion]
    closed: Mapping[Place, ClosedAlias]
    models: frozenset[str]
    versions: Mapping[tuple[str, int], LiveVersion]

    @classmethod
    def of(
        cls,
        policy: Policy | None,
        policy_until: float,
        floor: float,
        lives: Mapping[Place, LiveVersion],
        closed: Mapping[Place, ClosedAlias],
    ) -> Self:
        """The table of these aliases; a live one is not closed."""
        closed = {place: item for place, item in closed.items() if place not in lives}
        # Where several aliases name a version, the longest covered speaks for it, or the default;
        # `shadow` only where no other does.
        ordered = sorted(
            lives.values(),
            key=lambda live: (live.alias != SHADOW_ALIAS, live.until, live.alias == DEFAULT_ALIAS),
        )
        return cls(
            policy=policy,
            policy_until=policy_until,
            floor=floor,
            lives=MappingProxyType(dict(lives)),
            closed=MappingProxyType(closed),
            models=frozenset(model for model, _ in (*lives, *closed)),
            versions=MappingProxyType({(live.model, live.version): live for live in ordered}),
        )

    def resolve(
        self, model: str, version: int | None, alias: str | None, clock: float
    ) -> LiveVersion:
        """The version that answers; by default that of the alias `production`.

        If both a version and an alias are given, the alias must name the version.
        Raises: MODEL_UNKNOWN, ALIAS_UNKNOWN, VERSION_NOT_LIVE, VERSION_REVOKED, POLICY_EXPIRED,
        POINTER_STALE.
        """
        if version is not None and alias is None:
            live = self.versions.get((model, version))
        else:
            live = self.lives.get((model, alias or DEFAULT_ALIAS))
        if live is None:
            raise self._absent(model, version, alias)
        if version is not None and live.version != version:
            raise SealgateError(Reason.VERSION_NOT_LIVE)
        now = max(clock, self.floor)
        if now >= self.policy_until:
            raise SealgateError(Reason.POLICY_EXPIRED)
        if now >= live.until:
            raise SealgateError(Reason.POINTER_STALE)
        return live

    def index(self, clock: float) -> list[IndexedVersion]:
        """Every version that a pointer names, once, in order."""
        found: dict[tuple[str, int], Reason | None] = {
            (model, item.version): item.reason for (model, _), item in self.closed.items()
        }
        for model, version in self.versions:
            try:
                self.resolve(model, version, None, clock)
                found[model, version] = None
            except SealgateError as refusal:
                found[model, version] = refusal.reason
        return [IndexedVersion(*place, found[place]) for place in sorted(found)]

    def _absent(self, model: str, version: int | None, alias: str | None) -> SealgateError:
        if model not in self.models:
            return SealgateError(Reason.MODEL_UNKNOWN)
        if version is not None and alias is None:
            named = [item for place, item in self.closed.items() if place[0] == model]
            reasons = [item.reason for item in named if item.version == version]
            return SealgateError(reasons[0] if reasons else Reason.VERSION_NOT_LIVE)
        closed = self.closed.get((model, alias or DEFAULT_ALIAS))
        return SealgateError(closed.reason if closed else Reason.ALIAS_UNKNOWN)


EMPTY = LiveTable.of(None, 0.0, 0.0, {}, {})
