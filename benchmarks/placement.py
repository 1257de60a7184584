"""`make bench NAME=placement`: one model on two engines of different speed, by measured cost.

Both engines are processes on unix sockets, as `[[engines]]` names them, and take a known time for a
batch: the fast one 2 ms and 2 ms a row, as a GPU may, and the slow one FACTOR times that, as a CPU
may (`benchmarks.simulated_device`). The gateway knows neither number: it measures them. Callers
keep 48 requests of a row in flight, through the same pool of engines, with four ways to choose an
engine: by measured cost as shipped, in turn, and one engine alone. Ways take turns in every round.

Prints a table; writes results/placement.json.
"""

import argparse
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from benchmarks.figures import Spread, ratio
from benchmarks.report import Target, finish, show
from gateway.app import Gateway
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.placement import EnginePlacement, MeasuredEngine
from sealgate.reasons import SealgateError
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.engine_pair import SECOND, add_engine
from tests.support.harness.gateway import GatewayHarness, rows
from tests.support.harness.processes.engine_process import EngineProcess

FAST, SLOW = "engine", "second"
COST, TURNS, FAST_ALONE, SLOW_ALONE = (
    "by measured cost",
    "in turn",
    "the fast one alone",
    "the slow one alone",
)
_FIXED_MS, _ROW_MS = 2.0, 2.0
_IN_FLIGHT = 48
_MEASURE_SECONDS = 60.0
_NO_PAIR = "no GPU beside the CPU on this machine"
Candidates = Mapping[str, Mapping[str, MeasuredEngine]]


class ChosenPlacement(EnginePlacement):
    """Asks the engine that `choose` names, whatever it costs."""

    def __init__(self, names: list[str], choose: Callable[[], str]) -> None:
        super().__init__(names)
        self._choose = choose

    def place(self, digest: str, rows: int, candidates: Candidates) -> str:
        """See `EnginePlacement.place`."""
        name = self._choose()
        return super().place(digest, rows, {name: candidates[name]})


def placements(names: list[str]) -> dict[str, EnginePlacement]:
    """The ways to choose among the engines, by their titles."""
    turns = itertools.cycle(names)
    return {
        COST: EnginePlacement(names),
        TURNS: ChosenPlacement(names, lambda: next(turns)),
        FAST_ALONE: ChosenPlacement(names, lambda: FAST),
        SLOW_ALONE: ChosenPlacement(names, lambda: SLOW),
    }


@dataclass(slots=True)
class MeasuredWay:
    """The results of one way, round by round."""

    rates: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    lost: int = 0

    def row(self, way: str) -> dict[str, Any]:
        return {
            "way": way,
            "rate": _spread(self.rates),
            "share_of_the_fast": _spread(self.shares),
            "p50_ms": _spread(self.p50_ms),
            "p99_ms": _spread(self.p99_ms),
            "lost": self.lost,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=float, default=3.0, help="how much slower the slow one is")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        _gateway(Path(folder) / "state", options.factor) as gateway,
    ):
        pool: Any = gateway.backends.shown
        told = _await_costs(gateway, pool)
        ways = {title: MeasuredWay() for title in placements([FAST, SLOW])}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            for title, placement in placements([FAST, SLOW]).items():
                pool.placement = placement
                _turn(gateway, ways[title], options.seconds)
    table = [way.row(title) for title, way in ways.items()]
    show(table, title=f"two engines, one {options.factor:g} times slower, {_IN_FLIGHT} in flight")
    more = {"factor": options.factor, "in_flight": _IN_FLIGHT, "measured_ms": told}
    finish("placement", table, targets(ways, options.factor), **more)


def targets(ways: Mapping[str, MeasuredWay], factor: float) -> list[Target]:
    """The targets of placing by cost, in ratios within a round."""
    cost = ways[COST]
    ideal = factor / (factor + 1)
    off = Spread.of(abs(share - ideal) for share in cost.shares).median
    over = {title: ratio(cost.rates, way.rates).median for title, way in ways.items()}
    tail = ratio(cost.p99_ms, ways[TURNS].p99_ms).median
    real = "rate of a CPU and a GPU together over the GPU alone"
    return [
        Target(f"share of the fast engine, off from {ideal:.2f}, that of its speed", off, 0.05),
        # Both together can reach 1 + 1 / factor of the fast one, and in turn twice the slow one.
        Target("rate over the fast one alone", over[FAST_ALONE], 1 + 0.6 / factor, least=True),
        Target("rate over the slow one alone", over[SLOW_ALONE], 0.9 * factor, least=True),
        Target("rate over engines in turn", over[TURNS], 0.4 * (1 + factor), least=True),
        Target("p99 over engines in turn", tail, 1.0),
        Target("requests lost", float(sum(way.lost for way in ways.values())), 0.0),
        Target(real, None, 1.0, least=True, why=_NO_PAIR),
    ]


@contextmanager
def _gateway(state: Path, factor: float) -> Iterator[Gateway]:
    """A gateway before both engines, with digits in production."""
    harness = GatewayHarness(state, engine=EnginePlace())
    add_engine(state, "")
    files = {"engine.toml": 1.0, f"{SECOND}.toml": factor}
    engines = [EngineProcess(state, name, before=_device(by)) for name, by in files.items()]
    try:
        for engine in engines:
            engine.start()
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        # It has been started.
        yield cast(Gateway, harness.gateway)
    finally:
        harness.stop()
        for engine in engines:
            if engine.runs:
                engine.stop()


def _device(factor: float) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.simulated_device"]
    return [*words, str(_FIXED_MS * factor), str(_ROW_MS * factor)]


def _await_costs(gateway: Gateway, pool: EnginePool) -> dict[str, dict[str, float]]:
    """The costs that both engines have measured, in ms by rows. Raises: TimeoutError."""
    digest = gateway.engine.resolve("digits").digest
    end = time.monotonic() + _MEASURE_SECONDS
    while not all(digest in engine.measured for engine in pool.engines.values()):
        if time.monotonic() > end:
            raise TimeoutError("an engine does not say what batches cost")
        time.sleep(0.05)
    return {
        name: {str(n): 1000 * s for n, s in engine.measured[digest].costs.batches}
        for name, engine in pool.engines.items()
    }


def _turn(gateway: Gateway, way: MeasuredWay, seconds: float) -> None:
    """Callers ask for so many seconds, after a tenth of that to fill the queues."""
    live, x = gateway.engine.resolve("digits"), rows(count=1)
    times: list[float] = []
    heard: Counter[str] = Counter()
    lost: list[str] = []
    begin = time.monotonic() + seconds / 10
    end = begin + seconds

    def ask() -> None:
        while (asked := time.monotonic()) < end:
            try:
                answer = gateway.engine.infer(live, x)
            except SealgateError as refusal:
                lost.append(refusal.reason.name)
                continue
            if begin <= time.monotonic() <= end:
                times.append(time.monotonic() - asked)
                heard[answer.engine.partition("; ")[2].partition(" ")[0]] += 1

    callers = [threading.Thread(target=ask) for _ in range(_IN_FLIGHT)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    way.rates.append(len(times) / seconds)
    way.shares.append(heard[FAST] / max(heard.total(), 1))
    way.p50_ms.append(1000 * float(np.quantile(times, 0.5)))
    way.p99_ms.append(1000 * float(np.quantile(times, 0.99)))
    way.lost += len(lost)


def _spread(values: list[float]) -> dict[str, float]:
    found = Spread.of(values)
    return {"median": found.median, "least": found.least, "most": found.most}


if __name__ == "__main__":
    main()
