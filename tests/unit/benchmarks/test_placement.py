"""The targets of `make bench NAME=placement` for placing by measured cost."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import placement, simulated_device
from benchmarks.placement import COST, FAST, FAST_ALONE, SLOW, SLOW_ALONE, TURNS, MeasuredWay
from inference.backends.remote.placement import MeasuredEngine
from inference.batching.cost_model import BatchCosts


def way(rate, share=1.0, p99=100.0):
    return MeasuredWay([rate], [share], [p99 / 2], [p99])


def ways(**changed):
    found = {COST: way(640, 0.75), TURNS: way(320, 0.5, 300.0)}
    found |= {FAST_ALONE: way(480), SLOW_ALONE: way(160, 0.0)}
    return found | changed


def missed(found):
    return [target.name for target in placement.targets(found, 3.0) if not target.met]


NOT_RUN = "rate of a CPU and a GPU together over the GPU alone"


def test_what_two_speeds_allow_meets_every_target_that_ran():
    assert missed(ways()) == [NOT_RUN]
    assert placement.targets(ways(), 3.0)[-1].value is None


def test_an_even_split_misses_them():
    assert len(missed(ways(**{COST: way(320, 0.5, 320.0)}))) == 6


def test_a_lost_request_is_a_miss():
    found = ways()
    found[TURNS].lost = 1
    assert missed(found) == ["requests lost", NOT_RUN]


def test_the_ways_choose_as_they_say():
    candidates = {
        name: {"d": MeasuredEngine(BatchCosts(((1, seconds),)), "cpu")}
        for name, seconds in ((FAST, 0.001), (SLOW, 0.003))
    }
    chosen = {
        title: [each.place("d", 1, candidates) for _ in range(4)]
        for title, each in placement.placements([FAST, SLOW]).items()
    }
    assert chosen == {
        COST: [FAST, FAST, SLOW, FAST],
        TURNS: [FAST, SLOW, FAST, SLOW],
        FAST_ALONE: [FAST] * 4,
        SLOW_ALONE: [SLOW] * 4,
    }


class Version:
    def _infer(self, x):
        return (x,)

    def run(self, x):
        return self._infer(x)


def test_a_simulated_device_takes_its_time(monkeypatch: pytest.MonkeyPatch):
    slept = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 10.0)
    monkeypatch.setattr(simulated_device, "time", clock)
    simulated_device.slow_down(0.002, 0.003, Version)
    x = np.ones((4, 2))
    (found,) = Version().run(x)
    assert found is x
    assert slept == pytest.approx([0.014])
