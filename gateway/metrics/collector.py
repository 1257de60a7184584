"""Reads the metrics' values when somebody asks, from where the work is counted anyway.

So a request costs the same whether anybody asks or not. A version's numbers begin at 0 when it is
loaded and go when no alias names it, as `ModelStatistics`' do.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.metrics import families
from gateway.metrics.certificates import Certificates
from gateway.metrics.families import Family
from gateway.metrics.readiness import Readiness
from gateway.recorder import Recorder
from inference.engine import Engine, Live
from inference.statistics import Duration, Report, Statistics
from sealgate.trust.times import parse_time

Labels: TypeAlias = tuple[str, ...]
L = TypeVar("L", bound=Labels)

_SECOND_NS = 1e9
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are. `unresolved` has the requests that came to no version, `refusals`
    those of the front door by whether they were recorded, `http_answers` what the HTTP door
    answered by status, `registry_size` the entries of the registry's log, from memory.
    """

    engine: Engine
    unresolved: Statistics
    refusals: Mapping[str, Counter[str]]
    http_answers: Counter[str]
    recorder: Recorder
    registry_size: Callable[[], int]
    certificates: Certificates
    readiness: Readiness


class GatewayCollector(Collector):
    """What Prometheus' client asks for the metrics."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def collect(self) -> Iterable[Metric]:
        """Every family of `families.FAMILIES`, in that order."""
        places = self._from.engine.live()
        reports: dict[Labels, Report] = {
            (live.model, str(live.version)): live.report() for live in places.values()
        }
        yield from self._requests(reports)
        yield from _batches(reports)
        yield from _pointers(places)
        yield from self._standing()
        yield from self._records()
        certificates = self._from.certificates
        ends = {(name,): end.timestamp() for name, end in certificates.expiries().items()}
        yield _filled(families.CERTIFICATE_END, ends)
        renewed = {(result,): count for result, count in certificates.renewed().items()}
        yield _filled(families.CERTIFICATE_RENEWALS, renewed)
        yield _filled(families.READY, {(): float(not self._from.readiness.obstacle())})

    def _requests(self, reports: Mapping[Labels, Report]) -> Iterator[Metric]:
        unresolved = self._from.unresolved.report(Duration())
        found = {
            (*key, *ending): duration
            for key, report in [*reports.items(), (("", ""), unresolved)]
            for ending, duration in report.endings.items()
        }
        yield _filled(families.REQUESTS, {key: each.count for key, each in found.items()})
        yield _filled(families.REQUEST_SECONDS, {key: _seconds(d) for key, d in found.items()})

    def _standing(self) -> Iterator[Metric]:
        """What the engine holds true."""
        engine = self._from.engine
        index = {
            (each.model, str(each.version), each.reason.name if each.reason else ""): float(
                each.reason is None
            )
            for each in engine.index()
        }
        yield _filled(families.VERSION_READY, index)
        policy = engine.policy
        version = {(): policy.version} if policy else {}
        end = {(): parse_time(policy.expires).timestamp()} if policy else {}
        yield _filled(families.POLICY_VERSION, version)
        yield _filled(families.POLICY_END, end)

    def _records(self) -> Iterator[Metric]:
        refusals = {
            (reason, recorded): count
            for recorded, counted in self._from.refusals.items()
            # A copy, made in one step: callers go on being refused meanwhile.
            for reason, count in dict(counted).items()
        }
        yield _filled(families.DOOR_REFUSALS, refusals)
        answers = {(status,): n for status, n in dict(self._from.http_answers).items()}
        yield _filled(families.HTTP_ANSWERS, answers)
        recorder = self._from.recorder
        sizes = {("answers",): recorder.size, ("registry",): self._from.registry_size()}
        yield _filled(families.LOG_ENTRIES, sizes)
        yield _timed(families.COMMIT_SECONDS, {(): recorder.commits})


def _batches(reports: Mapping[Labels, Report]) -> Iterator[Metric]:
    yield _timed(families.QUEUE_SECONDS, {key: each.queue for key, each in reports.items()})
    whole = {
        key: Duration(each.executions, sum(sum(done.phases) for done in each.by_size.values()))
        for key, each in reports.items()
    }
    yield _timed(families.BATCH_SECONDS, whole)
    yield _sized(families.BATCH_ROWS, reports)
    screening = {key: each.screening for key, each in reports.items()}
    yield _timed(families.SCREENING_SECONDS, screening)
    inference = {key: each.inference for key, each in reports.items()}
    yield _timed(families.INFERENCE_SECONDS, inference)
    stages = {
        (*key, stage): count
        for key, each in reports.items()
        for stage, count in (("first", each.first), ("graph", each.graph))
    }
    yield _filled(families.SCREENED_ROWS, stages)
    faults = {
        (*key, fault.name.lower()): count
        for key, each in reports.items()
        for fault, count in each.faults.items()
    }
    yield _filled(families.FAULTS, faults)


def _pointers(places: Mapping[tuple[str, str], Live]) -> Iterator[Metric]:
    sequences = {place: live.sequence for place, live in places.items()}
    yield _filled(families.POINTER_SEQUENCE, sequences)
    yield _filled(families.POINTER_VERSION, {place: live.version for place, live in places.items()})
    yield _filled(families.POINTER_END, {place: live.until for place, live in places.items()})


def _filled(family: Family, values: Mapping[L, float]) -> Metric:
    metric = family.empty()
    for labels, value in values.items():
        metric.add_sample(family.name, _named(family, labels), value)
    return metric


def _timed(family: Family, durations: Mapping[L, Duration]) -> Metric:
    metric = family.empty()
    for labels, duration in durations.items():
        named = _named(family, labels)
        metric.add_sample(f"{family.name}_count", named, duration.count)
        metric.add_sample(f"{family.name}_sum", named, _seconds(duration))
    return metric


def _sized(family: Family, reports: Mapping[Labels, Report]) -> Metric:
    """How many batches had so many rows or fewer, and how many rows all had together."""
    metric = family.empty()
    for labels, report in reports.items():
        named = _named(family, labels)
        for bound in _ROWS:
            batches = sum(done.count for rows, done in report.by_size.items() if rows <= bound)
            metric.add_sample(f"{family.name}_bucket", {**named, "le": f"{bound:.1f}"}, batches)
        metric.add_sample(f"{family.name}_bucket", {**named, "le": "+Inf"}, report.executions)
        metric.add_sample(f"{family.name}_count", named, report.executions)
        metric.add_sample(f"{family.name}_sum", named, report.inferences)
    return metric


def _named(family: Family, labels: Labels) -> dict[str, str]:
    return dict(zip(family.labels, labels, strict=True))


def _seconds(duration: Duration) -> float:
    return duration.ns / _SECOND_NS
