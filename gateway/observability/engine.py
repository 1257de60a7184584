"""Metrics of an engine's process, their listener, and metrics' values from counts."""

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import TypeAlias, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.observability.families import (
    ALIAS,
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    VERSION,
    Family,
)
from gateway.observability.readiness import Phase, metrics_listener
from inference.batching import BatcherCounts
from inference.engine import (
    WAIT_BOUNDS,
    Duration,
    Engine,
    RunFault,
    VersionStatistics,
    WaitHistogram,
)
from sealgate.settings import MetricsSettings

QUEUE_ROWS = Family(
    "sealgate_engine_queue_rows", GAUGE, VERSION, "Rows that wait for their batch at this moment"
)
QUEUE_SECONDS = Family(
    "sealgate_engine_queue_seconds",
    SUMMARY,
    VERSION,
    "Time that requests waited for their batch",
)
DROPPED = Family(
    "sealgate_engine_dropped_total",
    COUNTER,
    VERSION,
    "Requests that were dropped: out of time, without a caller, displaced from the queue, or in a "
    "batch that failed",
)
BATCH_SECONDS = Family(
    "sealgate_engine_batch_seconds",
    SUMMARY,
    VERSION,
    "Time of batches: gathering rows, screening, inference and splitting results; on Ray also the "
    "way to a replica and back",
)
BATCH_ROWS = Family("sealgate_engine_batch_rows", HISTOGRAM, VERSION, "How many rows batches had")
SCREENING_SECONDS = Family(
    "sealgate_engine_screening_seconds",
    SUMMARY,
    VERSION,
    "Time of runs of the screening graph, including the checks at load; none if replicas run it",
)
INFERENCE_SECONDS = Family(
    "sealgate_engine_inference_seconds",
    SUMMARY,
    VERSION,
    "Time of runs of the serving graph, as above",
)
FAULTS = Family(
    "sealgate_engine_faults_total",
    COUNTER,
    (*VERSION, "fault"),
    "Faults of runs that were recovered: out_of_memory, run_ended, sessions_replaced",
)
POINTER_SEQUENCE = Family(
    "sealgate_engine_pointer_sequence",
    GAUGE,
    ALIAS,
    "The sequence of the pointer that the engine follows for an alias",
)
VERSION_READY = Family(
    "sealgate_engine_version_ready",
    GAUGE,
    (*VERSION, "reason"),
    "1 if a version that a pointer names answers; else 0, with the reason",
)
REPLICAS = Family(
    "sealgate_engine_replicas",
    GAUGE,
    (),
    "Replicas on Ray that answer; none if the engine runs graphs itself",
)
READY = Family("sealgate_engine_ready", GAUGE, (), "1 while /readyz answers 200, else 0")

ENGINE_FAMILIES = (
    QUEUE_ROWS,
    QUEUE_SECONDS,
    DROPPED,
    BATCH_SECONDS,
    BATCH_ROWS,
    SCREENING_SECONDS,
    INFERENCE_SECONDS,
    FAULTS,
    POINTER_SEQUENCE,
    VERSION_READY,
    REPLICAS,
    READY,
)
Labels: TypeAlias = tuple[str, ...]
L = TypeVar("L", bound=Labels)

_SECOND_NS = 1e9
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class EngineReadiness:
    """Ready is who listens. An engine that follows nothing yet, or whose policy has expired, must
    be reached all the same: by the gateways that will show it what comes next.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def obstacle(self) -> str:
        """Its phase, or nothing where that is no obstacle."""
        return "" if self.phase is Phase.SERVING else self.phase.value


class EngineCollector(Collector):
    """What Prometheus' client asks for the metrics, read from where the work is counted anyway."""

    def __init__(
        self,
        engine: Engine,
        readiness: EngineReadiness,
        replicas: Callable[[], int] | None,
    ) -> None:
        """`replicas` says how many answer, where graphs run in such."""
        self._engine = engine
        self._readiness = readiness
        self._replicas = replicas

    def collect(self) -> Iterable[Metric]:
        """Every family of `engine_families`, in that order."""
        places = self._engine.live()
        lives = {(live.model, str(live.version)): live for live in places.values()}
        reports: dict[Labels, VersionStatistics] = {
            key: live.report() for key, live in lives.items()
        }
        counts: dict[Labels, BatcherCounts] = {
            key: live.ready.counts() for key, live in lives.items()
        }
        waiting = {key: each.waiting for key, each in counts.items()}
        yield filled(QUEUE_ROWS, waiting)
        yield timed(QUEUE_SECONDS, {key: each.queue for key, each in reports.items()})
        yield filled(DROPPED, {key: each.dropped for key, each in counts.items()})
        yield timed(BATCH_SECONDS, batch_times(reports))
        yield sized(BATCH_ROWS, reports)
        screening = {key: each.screening for key, each in reports.items()}
        yield timed(SCREENING_SECONDS, screening)
        inference = {key: each.inference for key, each in reports.items()}
        yield timed(INFERENCE_SECONDS, inference)
        yield faults(FAULTS, reports)
        sequences = {place: live.sequence for place, live in places.items()}
        yield filled(POINTER_SEQUENCE, sequences)
        yield filled(VERSION_READY, ready(self._engine))
        replicas = {(): self._replicas()} if self._replicas is not None else {}
        yield filled(REPLICAS, replicas)
        yield filled(READY, {(): float(not self._readiness.obstacle())})


class EngineMetrics:
    """The listener of an engine's `[metrics]`; nothing where the section is silent."""

    def __init__(
        self,
        settings: MetricsSettings,
        engine: Engine,
        replicas: Callable[[], int] | None = None,
    ) -> None:
        """See `EngineCollector`. Raises: ConfigError where the address cannot be listened on."""
        self._readiness = EngineReadiness()
        collector = EngineCollector(engine, self._readiness, replicas)
        self._listener = metrics_listener(settings, collector, self._readiness.obstacle)
        self.port = self._listener.port

    def start(self) -> None:
        self._readiness.phase = Phase.SERVING
        self._listener.start()

    def drain(self) -> None:
        self._readiness.phase = Phase.DRAINING

    def stop(self) -> None:
        self._listener.stop()


def filled(family: Family, values: Mapping[L, float]) -> Metric:
    """A counter's or a gauge's values, by their labels."""
    metric = family.empty()
    for labels, value in values.items():
        metric.add_sample(family.name, _named(family, labels), value)
    return metric


def timed(family: Family, durations: Mapping[L, Duration]) -> Metric:
    """A summary of seconds."""
    metric = family.empty()
    for labels, duration in durations.items():
        named = _named(family, labels)
        metric.add_sample(f"{family.name}_count", named, duration.count)
        metric.add_sample(f"{family.name}_sum", named, seconds(duration))
    return metric


def sized(family: Family, reports: Mapping[Labels, VersionStatistics]) -> Metric:
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


def spread(family: Family, spreads: Mapping[Labels, WaitHistogram]) -> Metric:
    """A histogram of seconds."""
    metric = family.empty()
    for labels, waits in spreads.items():
        named, bounds = _named(family, labels), [*map(str, WAIT_BOUNDS), "+Inf"]
        for bound, count in zip(bounds, accumulate(waits.counts), strict=True):
            metric.add_sample(f"{family.name}_bucket", {**named, "le": bound}, count)
        metric.add_sample(f"{family.name}_count", named, sum(waits.counts))
        metric.add_sample(f"{family.name}_sum", named, waits.ns / _SECOND_NS)
    return metric


def _named(family: Family, labels: Labels) -> dict[str, str]:
    return dict(zip(family.labels, labels, strict=True))


def seconds(duration: Duration) -> float:
    return duration.ns / _SECOND_NS


def batch_times(reports: Mapping[L, VersionStatistics]) -> Mapping[L, Duration]:
    """How long batches took, in all their phases."""
    return {
        key: Duration(each.executions, sum(sum(done.phases) for done in each.by_size.values()))
        for key, each in reports.items()
    }


def ready(engine: Engine) -> dict[Labels, float]:
    """1 for each version that a pointer names and that answers, or else 0 and why."""
    return {
        (each.model, str(each.version), each.reason.name if each.reason else ""): float(
            each.reason is None
        )
        for each in engine.index()
    }


def faults(family: Family, reports: Mapping[Labels, VersionStatistics]) -> Metric:
    """The failures of runs; counted from 0 on, or the first would be no increase to Prometheus."""
    found = {
        (*key, fault.name.lower()): each.faults.get(fault, 0)
        for key, each in reports.items()
        for fault in RunFault
    }
    return filled(family, found)
