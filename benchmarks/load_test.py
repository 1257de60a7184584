"""`make bench NAME=load`: Locust drives a governed gateway to its capacity and past it.

The gateway is as `sealgate serve` starts it, on one core: TLS, token, every row screened, a durable
record of each answer and each refusal by screening. Locust has the other core, which is busy
throughout (`kept_busy`), so that the gateway is no slower for being asked more. Requests come in an
open loop, at rising multiples of the capacity that was measured first, up to three times, and at
the end below it again. The model is the wide perceptron of `benchmarks.wide` and a request has
32 rows, so that Locust, which is Python too, can ask three times as fast as the gateway answers.

Past saturation the rate of answers must not fall, refusals must come soon and say when to come
again, and the memory of the gateway must stay what it was.
"""

import argparse
import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import charts, governed
from benchmarks.load import write_requests
from benchmarks.memory import Memory, watched
from benchmarks.processes import Cores, kept_busy, pinned
from benchmarks.report import RESULTS, Target, finish, show
from benchmarks.served import ENVIRONMENTS, missing
from benchmarks.wide import WIDE
from demo import datasets
from demo.materials import test_rows
from demo.questions import question, reason_for
from demo.stage import Stage, free_ports
from demo.train_models import write_model
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect

LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 3.0, 3.0, 1.0, 0.5)
_PROGRAM = Path(__file__).parent / "peers" / "locust_load.py"
_MODEL = "digits"
_ROWS = 32
_DISTINCT = 2000
_IN_FLIGHT = 32
_PATIENCE = 5.0
_LONG = 600.0


_GOODPUT = "goodput past saturation, of the best before"
_WHY = "the least minute past saturation beside the best before it, and minutes differ by a tenth"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=_LONG, help="of all steps together")
    seconds = parser.parse_args().seconds
    if (why := missing("locust")) is not None:
        raise SystemExit(f"Locust is {why}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder / "state")
        requests = write_requests(folder / "load.requests", _prepared(stage, folder))
        capacity, table, memory = _driven(stage, requests, folder, seconds)
    figures = (
        "offered",
        "goodput",
        "p50_ms",
        "p99_ms",
        "refused",
        "refused_p50_ms",
        "refused_p99_ms",
    )
    show(table, ("load", *figures), f"{_ROWS} rows a request; capacity {capacity:.0f}/s")
    print(f"memory {memory.mb[0]:.0f} to {memory.mb[-1]:.0f} MB")
    more = {"seconds": seconds, "capacity": capacity, "rows_per_request": _ROWS}
    more["memory"] = {"seconds": memory.seconds, "mb": memory.mb, "slope": memory.slope()}
    if seconds < _LONG:
        more["note"] = f"{seconds:g} seconds of load; ten minutes are the measure"
    finish("load", table, targets(table, memory), **more)
    _draw(table, memory)


def _prepared(stage: Stage, folder: Path) -> list[bytes]:
    """An installation whose gateway is stopped again; distinct requests of rows that it passes."""
    write_model(WIDE, datasets.digits(), folder)
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    with governed.started(stage):
        governed.promote(stage, folder / WIDE.folder)
        with connect(stage.profile("client")) as channel:
            stub, known = GRPCInferenceServiceStub(channel), test_rows("digits")
            passed = [x for x in known if reason_for(stub, question(_MODEL, x[None])) is None]
    rng = np.random.default_rng(0)
    chosen = (rng.integers(0, len(passed), _ROWS) for _ in range(_DISTINCT))
    clean = np.stack(passed)
    return [question(_MODEL, clean[places]).SerializeToString() for places in chosen]


def _driven(
    stage: Stage, requests: str, folder: Path, seconds: float
) -> tuple[float, list[dict[str, Any]], Memory]:
    """The capacity, a row for each step, and the gateway's memory meanwhile."""
    cores, profile = Cores.of_this_machine(), stage.profile("client")
    plan = folder / "plan.json"
    plan.write_text(
        json.dumps(
            {
                "address": profile.endpoint,
                "authority": str(profile.server_authority),
                "token": profile.token.read_text().strip() if profile.token else "",
                "requests": requests,
                "seconds": seconds / len(LOADS),
                "loads": LOADS,
                "patience": _PATIENCE,
                "in_flight": _IN_FLIGHT,
                "capacity_seconds": max(3.0, seconds / 60),
            }
        )
    )
    with (
        governed.serving(stage, cores.server, folder / "gateway.log") as server,
        watched(server.memory) as memory,
        kept_busy(cores.client),
        pinned({cores.client}),
    ):
        python = (ENVIRONMENTS / "locust" / "bin" / "python").absolute()
        done = subprocess.run(
            [python, _PROGRAM, plan], stdout=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"Locust ended with {done.returncode}")
    first, *steps = map(json.loads, done.stdout.splitlines())
    return first["capacity"], steps, memory


def targets(table: list[dict[str, Any]], memory: Memory) -> list[Target]:
    """The targets: past saturation answers go on, refusals are quick and helpful."""
    best = max(row["goodput"] for row in table if row["load"] <= 1.0)
    past = [row for row in table if row["load"] > 1.0]
    others = sum(
        count
        for row in table
        for reason, count in row["reasons"].items()
        if reason not in ("QUEUE_FULL", "RESOURCE_EXHAUSTED")
    )
    asked = sum(row["answered"] + sum(row["reasons"].values()) for row in table)
    slowest = max((row["refused_p99_ms"] for row in past if row["refused"]), default=0.0)
    least = min(row["goodput"] for row in past)
    offered = max(row["offered"] for row in table) / best
    silent = sum(row["refused_without_retry"] for row in table)
    return [
        Target("load offered, of the capacity", offered, 3.0, least=True),
        Target(_GOODPUT, least / best, 0.95, least=True).unless_met({_GOODPUT: _WHY}),
        Target("refusals that do not say when to retry", silent, 0.0),
        Target("refused for want of room", sum(r["refused"] for r in past), 1.0, least=True),
        Target("p99 of refusals, ms", slowest, 1000.0),
        Target("p99 of answers past saturation, ms", max(r["p99_ms"] for r in past), 1000.0),
        Target("requests that failed in another way, share", others / asked, 0.001),
        Target("growth of memory, MB a minute", memory.slope(), 2.0),
    ]


def _draw(table: list[dict[str, Any]], memory: Memory) -> None:
    """Rates step by step, how long answers and refusals took, and the memory."""
    steps = [f"{place}: {row['load']:g}x" for place, row in enumerate(table, 1)]
    with charts.figure(RESULTS / "load.svg", 3, 13) as (rates, times, space):
        charts.line(rates, steps, [r["offered"] for r in table], charts.GRAY, "offered", "o--")
        charts.line(rates, steps, [r["goodput"] for r in table], charts.BLUE, "answered")
        charts.line(times, steps, [r["p99_ms"] for r in table], charts.BLUE, "answers")
        refused = [row["refused_p99_ms"] for row in table]
        charts.line(times, steps, refused, charts.ORANGE, "refusals")
        charts.line(space, memory.seconds, memory.mb, charts.BLUE, style="-")
        load = "load, of the capacity, one step after the other"
        charts.name(rates, "requests a second", load)
        charts.name(times, "p99, ms", load, log=True)
        charts.name(space, "memory of the gateway, MB", "seconds")
        for axis in (rates, times):
            axis.tick_params(axis="x", labelsize="x-small", rotation=45)


if __name__ == "__main__":
    main()
