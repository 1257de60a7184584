"""The series of a version's counts: bounded, over all the time that it is live."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gateway.observability.history import MOST, SECONDS, StatisticsHistory
from inference.engine.statistics import Duration, RequestEnding, Statistics, VersionStatistics


@dataclass
class Live:
    """As much of a live version as is asked for."""

    model: str = "digits"
    digest: str = "sha256:1"
    statistics: Statistics = field(default_factory=Statistics)

    def report(self) -> VersionStatistics:
        return self.statistics.report(Duration())


class Gateway:
    def __init__(self) -> None:
        self.live = {("digits", "production"): Live()}
        self.time = 1000.0
        self.drift: dict[str, float] = {}
        self.history = StatisticsHistory(lambda: self.live, self.drift.get, clock=lambda: self.time)

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.history.sample()

    @property
    def samples(self) -> list:
        return self.history.of(self.live["digits", "production"])


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_a_sample_says_what_was_counted_by_then(gateway):
    version = gateway.live["digits", "production"]
    gateway.wait(0)
    version.statistics.ended(RequestEnding("clean", ""), 2_000)
    version.statistics.ended(RequestEnding("adversarial", "INPUT_ADVERSARIAL"), 1_000)
    gateway.drift[version.digest] = 1.5
    gateway.wait(SECONDS)
    first, second, now = gateway.samples
    assert (first.time, second.time) == (1_000_000, 1_010_000)
    assert (first.answered.count, second.answered.count, second.answered.ns) == (0, 1, 2_000)
    assert dict(second.refused) == {"INPUT_ADVERSARIAL": 1}
    assert dict(second.verdicts) == {"clean": 1, "adversarial": 1}
    assert (first.HasField("drift"), second.drift) == (False, 1.5)
    assert now == second


def test_samples_are_not_taken_before_they_are_due(gateway):
    for _ in range(10):
        gateway.wait(SECONDS / 10)
    assert len(gateway.samples) == 2


def test_the_series_stays_bounded_and_covers_all_the_time(gateway):
    for _ in range(10 * MOST):
        gateway.wait(SECONDS)
    times = [sample.time for sample in gateway.samples]
    assert len(times) <= MOST + 1
    assert times[0] == 1_010_000
    assert times[-1] == round(1e3 * gateway.time)
    gaps = {after - before for before, after in pairwise(times[:-1])}
    assert len(gaps) == 1


def test_what_is_live_no_more_is_forgotten(gateway):
    gateway.wait(0)
    gateway.live["digits", "production"] = Live(digest="sha256:2")
    gateway.wait(SECONDS)
    assert [sample.time for sample in gateway.samples] == [1_010_000, 1_010_000]
