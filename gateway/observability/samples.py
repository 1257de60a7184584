"""Fills a metric's family with what engines and pipelines counted."""

from collections.abc import Mapping
from itertools import accumulate
from typing import TypeAlias, TypeVar

from prometheus_client import Metric

from gateway.observability.families import Family
from inference.engine.engine import Engine
from inference.engine.statistics import BOUNDS, Duration, RunFault, VersionStatistics, WaitHistogram

Labels: TypeAlias = tuple[str, ...]
L = TypeVar("L", bound=Labels)

_SECOND_NS = 1e9
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


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
        named, bounds = _named(family, labels), [*map(str, BOUNDS), "+Inf"]
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
    """What went wrong with runs; from 0 on, or the first would be no increase to Prometheus."""
    found = {
        (*key, fault.name.lower()): each.faults.get(fault, 0)
        for key, each in reports.items()
        for fault in RunFault
    }
    return filled(family, found)
