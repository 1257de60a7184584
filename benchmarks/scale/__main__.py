"""`make bench NAME=scale`: what breaks first when requests grow, from costs that were measured.

Two costs are measured here (bytes of an entry, a gateway's look at the registry after a change),
the rest are read from the results of the benchmarks serve and log. With them queues are
simulated: a gateway's request, the registry's one writer, and gateways that follow a change. Writes
results/scale.json and scale.svg. docs/explanation/scale.md says what follows.
"""

import argparse
import heapq
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import charts
from benchmarks.report import RESULTS, finish, show
from benchmarks.scale.costs import Costs

Times = npt.NDArray[np.float64]


def poisson(rate: float, count: int, random: np.random.Generator) -> Times:
    """When `count` arrivals come that know nothing of one another."""
    return np.cumsum(random.exponential(1 / rate, count))


def waits(arrivals: Times, services: Times, servers: int = 1) -> Times:
    """How long each waits for the first free of `servers`, first come, first served."""
    free = [0.0] * servers
    found = np.empty(len(arrivals))
    for index, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        begun = max(arrival, free[0])
        heapq.heapreplace(free, begun + service)
        found[index] = begun - arrival
    return found


def grouped(arrivals: Times, fixed: float, each: float, most: int) -> Times:
    """How long each takes, from its arrival to its end, at one server that takes all who wait, up
    to `most`, as one group of n: `fixed + each * n`.
    """
    found = np.empty(len(arrivals))
    first, free = 0, 0.0
    while first < len(arrivals):
        begun = max(free, arrivals[first])
        last = min(int(np.searchsorted(arrivals, begun, side="right")), first + most)
        free = begun + fixed + each * (last - first)
        found[first:last] = free - arrivals[first:last]
        first = last
    return found


RATES = (10**3, 10**5, 10**7)
"""Requests a second of the whole."""
LOAD = 0.5
"""How much of its capacity a gateway is given, so that one may fail and bursts pass."""
DATABASE_CORES = 16
"""Of the registry's server: an assumption."""
ANCHOR_SECONDS = 60.0
_LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
_FLEETS = (2, 10, 30, 100, 200, 300, 400, 1000, 3000, 10_000)
_EVENTS = 100_000
_LARGEST_GROUP = 256
_DAY = 86_400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=_EVENTS, help="to each simulation")
    asked = parser.parse_args()
    costs = Costs.measured()
    random = np.random.default_rng(1)
    rows = [demand(rate, costs) for rate in RATES]
    names = [name for name in rows[0] if name != "rate"]
    show(
        [{"": name} | {f"{row['rate']:,}/s": row[name] for row in rows} for name in names],
        title="what a rate asks for, one registry for all",
    )
    latency = [gateway(load, costs, asked.events, random) for load in _LOADS]
    fleets = [registry(size, costs, asked.events, random) for size in _FLEETS]
    draw(latency, fleets)
    more: dict[str, Any] = {"costs": costs.document(), "gateway": latency, "registry": fleets}
    finish("scale", rows, [], **more)


def demand(rate: float, costs: Costs) -> dict[str, Any]:
    """The resources that `rate` requests a second need, with one registry for all."""
    gateways = max(2, math.ceil(rate * costs.answer_s / LOAD))
    changes = gateways / ANCHOR_SECONDS
    looks = changes * gateways
    return {
        "rate": rate,
        "gateways": gateways,
        "connections": gateways * costs.connections,
        "entries_gb_a_day": rate * costs.entry_bytes * _DAY / 1e9,
        "check_cores": rate * costs.check_s,
        "anchors_a_second": changes,
        "writer_load": changes * costs.write_s,
        "looks_a_second": looks,
        "look_cores": looks * costs.look_server_s,
        "quota_hits_under_way": rate * costs.quota_s,
        "policy_kb": gateways * costs.log_line_bytes / 1e3,
    }


def gateway(
    load: float, costs: Costs, events: int, random: np.random.Generator
) -> dict[str, float]:
    """Milliseconds that one gateway's requests take, at a share of its capacity: first its
    interpreter, one request after the other, then the record, in groups.
    """
    service = costs.answer_s - costs.record_each_s
    arrivals = poisson(load / costs.answer_s, events, random)
    ready = arrivals + waits(arrivals, np.full(events, service)) + service
    taken = (
        ready - arrivals + grouped(ready, costs.record_fixed_s, costs.record_each_s, _LARGEST_GROUP)
    )
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return {"load": load, "p50_ms": float(p50), "p99_ms": float(p99)}


def registry(
    gateways: int, costs: Costs, events: int, random: np.random.Generator
) -> dict[str, float | None]:
    """One registry that so many gateways anchor in and follow: how long an anchor waits for its
    turn, and how long until the last gateway has looked after a move, while others look too.
    None: more is asked for than it can do.
    """
    changes = gateways / ANCHOR_SECONDS
    found: dict[str, float | None] = {"gateways": gateways, "write_p99_ms": None, "reach_ms": None}
    if changes * costs.write_s < 1:
        arrivals = poisson(changes, events, random)
        waited = waits(arrivals, np.full(events, costs.write_s)) + costs.write_s
        found["write_p99_ms"] = float(np.percentile(waited, 99) * 1e3)
    if changes * gateways * costs.look_server_s < DATABASE_CORES:
        # Everyone looks at once after each change; the changes are anchors as they come.
        many = max(3, min(200, events // gateways))
        moments = np.repeat(poisson(changes, many, random), gateways)
        each = costs.look_server_s
        taken = waits(moments, np.full(len(moments), each), DATABASE_CORES) + each
        last = taken.reshape(many, gateways).max(axis=1) + costs.look_own_s
        found["reach_ms"] = float(np.median(last) * 1e3)
    return found


def draw(latency: list[dict[str, Any]], fleets: list[dict[str, Any]]) -> None:
    """One gateway's time by its load, and one registry's by how many follow it."""
    with charts.figure(RESULTS / "scale.svg", 2, 9.5) as (times, reach):
        loads = [100 * row["load"] for row in latency]
        charts.line(times, loads, [row["p50_ms"] for row in latency], charts.BLUE, "p50")
        charts.line(times, loads, [row["p99_ms"] for row in latency], charts.ORANGE, "p99")
        charts.name(times, "one gateway, simulated: ms a request", "% of its capacity")
        for name, color, label in (
            ("write_p99_ms", charts.BLUE, "p99 of an anchor, its turn included"),
            ("reach_ms", charts.ORANGE, "until the last gateway has looked"),
        ):
            known = [row for row in fleets if row[name] is not None]
            sizes = [row["gateways"] for row in known]
            charts.line(reach, sizes, [row[name] for row in known], color, label)
        if broken := [row["gateways"] for row in fleets if row["reach_ms"] is None]:
            reach.axvspan(min(broken), max(broken), color="#eeeeee", zorder=0)
            place, at = (min(broken) * 1.15, 0.3), ("data", "axes fraction")
            reach.annotate("more looks than\nit can answer", place, xycoords=at, fontsize="small")
        charts.name(reach, "one registry, simulated: ms", "gateways", log=True)
        reach.set_xscale("log")
        reach.set_ylim(1, 3000)


if __name__ == "__main__":
    main()
