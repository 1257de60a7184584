"""History of each live version's counts: a bounded series of samples, kept by this gateway alone.

A restart of the gateway begins anew, as the counts themselves do. While a version is live, all of
its time is covered: once there are MOST samples, every second one is dropped and the time between
them doubles.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference.engine import LiveVersion
from sealgate.oip import grpc_service_pb2 as oip

MOST = 120
"""Samples of a version."""
SECONDS = 10.0
"""Between samples, at first."""

LiveVersions = Callable[[], Mapping[tuple[str, str], LiveVersion]]


@dataclass(slots=True)
class _Series:
    samples: list[oip.StatisticsSample] = field(default_factory=list)
    seconds: float = SECONDS
    due: float = 0.0

    def add(self, sample: oip.StatisticsSample, now: float) -> None:
        if len(self.samples) >= MOST:
            self.samples = self.samples[::2]
            self.seconds *= 2
        self.samples.append(sample)
        self.due = now + self.seconds


class StatisticsHistory:
    """The series of all live versions. Safe for many threads."""

    def __init__(
        self,
        live: LiveVersions,
        drift: Callable[[str], float | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`drift` is the evidence that a version's traffic drifts, by its digest."""
        self._live = live
        self._drift = drift
        self._clock = clock
        self._mutex = threading.Lock()
        self._series: dict[tuple[str, str], _Series] = {}

    def sample(self) -> None:
        """Take the samples that are due, and forget the versions that are live no more."""
        now = self._clock()
        versions = {(live.model, live.digest): live for live in self._live().values()}
        with self._mutex:
            self._series = {key: self._series.get(key) or _Series() for key in versions}
            for key, live in versions.items():
                series = self._series[key]
                if now >= series.due:
                    series.add(self._now(live, now), now)

    def of(self, live: LiveVersion) -> list[oip.StatisticsSample]:
        """The samples of a version, oldest first, and its counts now."""
        with self._mutex:
            series = self._series.get((live.model, live.digest))
            kept = list(series.samples) if series else []
        return [*kept, self._now(live, self._clock())]

    def _now(self, live: LiveVersion, now: float) -> oip.StatisticsSample:
        report = live.report()
        refused: Counter[str] = Counter()
        for ending, duration in report.requests.items():
            if ending.reason:
                refused[ending.reason] += duration.count
        answered = report.success
        return oip.StatisticsSample(
            time=int(1e3 * now),
            answered=oip.StatisticDuration(count=answered.count, ns=answered.ns),
            refused=refused,
            verdicts=report.verdicts,
            drift=self._drift(live.digest),
        )
