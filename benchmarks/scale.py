"""`make bench NAME=scale`: what breaks first when requests grow, from costs that were measured.

Two costs are measured here (bytes of an entry, a gateway's look at the registry after a change),
the rest are read from the results of the benchmarks serve and log. With them queues are
simulated: a gateway's request, the registry's one writer, and gateways that follow a change. Writes
results/scale.json and scale.svg. docs/explanation/scale.md says what follows.
"""

import argparse
import math
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.queueing import grouped, mean_wait_md1, mean_wait_mmc, poisson, waits
from benchmarks.report import RESULTS, Target, write_report
from benchmarks.scale_costs import Costs
from benchmarks.scale_plot import draw

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
    show(rows)
    latency = [gateway(load, costs, asked.events, random) for load in _LOADS]
    fleets = [registry(size, costs, asked.events, random) for size in _FLEETS]
    targets = checks(asked.events, random)
    for target in targets:
        Console().print(target.line(), highlight=False)
    draw(latency, fleets, RESULTS / "scale.svg")
    write_report("scale", rows, targets, costs=costs.document(), gateway=latency, registry=fleets)


def demand(rate: float, costs: Costs) -> dict[str, Any]:
    """What `rate` requests a second ask for, with one registry for all."""
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


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="what a rate asks for, one registry for all", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(f"{row['rate']:,}/s", justify="right")
    for name in rows[0]:
        if name != "rate":
            table.add_row(name.replace("_", " "), *(f"{row[name]:,.4g}" for row in rows))
    Console(highlight=False).print(table)


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


def checks(events: int, random: np.random.Generator) -> list[Target]:
    """The simulation held to what is known exactly: off by so much, as a share."""
    arrivals = poisson(700.0, events, random)
    one = waits(arrivals, np.full(events, 1e-3)).mean()
    several = waits(poisson(2800.0, events, random), random.exponential(1e-3, events), 4).mean()
    off_one = abs(one / mean_wait_md1(700.0, 1e-3) - 1)
    off_several = abs(several / mean_wait_mmc(2800.0, 1e-3, 4) - 1)
    return [
        Target("simulated M/D/1 at 70%, off its formula", float(off_one), 0.05),
        Target("simulated M/M/4 at 70%, off its formula", float(off_several), 0.1),
    ]


if __name__ == "__main__":
    main()
