"""`make bench NAME=load`: Locust drives a governed gateway to its capacity and past it.

The gateway is as `sealgate serve` starts it, on one core: TLS, token, every row screened, a durable
record of each answer and each refusal by screening. Locust has the other core. Requests come in an
open loop, at rising multiples of the capacity that was measured first, up to three times, and at
the end below it again. The model is the wide perceptron of `benchmarks.batching` and a request has
32 rows, so that Locust, which is Python too, can ask three times as fast as the gateway answers.

Past saturation the rate of answers must not fall, refusals must come soon and say when to come
again, and the memory of the gateway must stay what it was.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.batching import WIDE
from benchmarks.load import write_requests
from benchmarks.load_plot import draw
from benchmarks.processes import Cores, Server, pinned
from benchmarks.report import RESULTS, Target, write_report
from benchmarks.served import ENVIRONMENTS, missing
from demo.materials import DATA, test_rows
from demo.questions import question, reason_for
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from training.demo import datasets
from training.demo.models import write_model

LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 3.0, 3.0, 1.0, 0.5)
_PROGRAM = Path(__file__).parent / "peers" / "locust_load.py"
_MODEL = "digits"
_ROWS = 32
_DISTINCT = 2000
_IN_FLIGHT = 32
_PATIENCE = 5.0
# What came before was spent on loading code and filling caches.
_WARM = 0.2
_LONG = 600.0
_GOODPUT = "goodput past saturation, of the best before"
# One line for each target missed: why, and what was tried.
_WHY = {
    _GOODPUT: "what it takes to turn calls away, a core of the gateway's cannot compute",
    "p99 of answers past saturation, ms": "as many calls as may wait and run, at 32 rows each, are "
    "1.7 s of work where 75 are answered a second; [limits] waiting_calls bounds them",
}


@dataclass(slots=True)
class Memory:
    """The gateway's, in MB, by seconds since the first reading."""

    seconds: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def slope(self) -> float:
        """MB a minute, by least squares, once warm."""
        begin = int(len(self.mb) * _WARM)
        return float(60 * np.polyfit(self.seconds[begin:], self.mb[begin:], 1)[0])


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
    show(capacity, table, memory)
    goals = targets(table, memory)
    for goal in goals:
        Console(highlight=False).print(goal.line())
    more = {"seconds": seconds, "capacity": capacity, "rows_per_request": _ROWS}
    more["memory"] = {"seconds": memory.seconds, "mb": memory.mb, "slope": memory.slope()}
    if seconds < _LONG:
        more["note"] = f"{seconds:g} seconds of load; ten minutes are the measure"
    write_report("load", table, goals, **more)
    draw(table, memory.seconds, memory.mb, RESULTS / "load.svg")


def _prepared(stage: Stage, folder: Path) -> list[bytes]:
    """An installation whose gateway is stopped again; distinct requests of rows that it passes."""
    write_model(WIDE, datasets.digits(), folder)
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    stage.start_gateway()
    try:
        stage.command(
            *("model", "publish", str(folder / WIDE.folder)),
            *("--data", str(DATA / "digits.safetensors"), "--json"),
            person="publisher",
        )
        promote_approved(stage, _MODEL, 1)
        with connect(stage.profile("client")) as channel:
            stub, known = GRPCInferenceServiceStub(channel), test_rows("digits")
            passed = [x for x in known if reason_for(stub, question(_MODEL, x[None])) is None]
    finally:
        stage.stop_gateway()
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
    server = Server(
        [sys.executable, "-m", "sealgate.cli.main", "--state", str(stage.state), "serve"],
        cores.server,
        folder / "gateway.log",
        {"OMP_NUM_THREADS": "1"},
    )
    try:
        server.await_port(int(profile.endpoint.rpartition(":")[2]))
        with _watched(server.memory) as memory, pinned({cores.client}):
            python = (ENVIRONMENTS / "locust" / "bin" / "python").absolute()
            done = subprocess.run(
                [python, _PROGRAM, plan], stdout=subprocess.PIPE, text=True, check=False
            )
    finally:
        server.stop()
    if done.returncode:
        raise SystemExit(f"Locust ended with {done.returncode}")
    first, *steps = map(json.loads, done.stdout.splitlines())
    return first["capacity"], steps, memory


@contextmanager
def _watched(read: Callable[[], int]) -> Iterator[Memory]:
    """Reads the memory each second while the block runs."""
    memory, stop = Memory(), threading.Event()

    def watch() -> None:
        second = 0.0
        while not stop.wait(1.0):
            second += 1.0
            memory.seconds.append(second)
            memory.mb.append(read() / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def targets(table: list[dict[str, Any]], memory: Memory) -> list[Target]:
    """What the issue asks for: past saturation answers go on, refusals are quick and helpful."""
    best = max(row["goodput"] for row in table if row["load"] <= 1.0)
    past = [row for row in table if row["load"] > 1.0]
    refused = [row for row in past if row["refused"]]
    others = sum(
        count
        for row in table
        for reason, count in row["reasons"].items()
        if reason not in ("QUEUE_FULL", "RESOURCE_EXHAUSTED")
    )
    asked = sum(row["answered"] + sum(row["reasons"].values()) for row in table)
    slowest = max((row["refused_p99_ms"] for row in refused), default=0.0)
    goals = [
        Target("load offered, of the capacity", max(_offered(table, best)), 3.0, least=True),
        Target(
            _GOODPUT,
            min(row["goodput"] for row in past) / best,
            0.9,
            least=True,
        ),
        Target("refusals that do not say when to retry", _sum(table, "refused_without_retry"), 0.0),
        Target("requests refused for want of room", _sum(past, "refused"), 1.0, least=True),
        Target("p99 of refusals, ms", slowest, 1000.0),
        Target("p99 of answers past saturation, ms", max(r["p99_ms"] for r in past), 2000.0),
        Target("requests that failed in another way, share", others / asked, 0.001),
        Target("growth of memory, MB a minute", memory.slope(), 2.0),
    ]
    return [goal if goal.met else goal.because(_WHY.get(goal.name, "")) for goal in goals]


def _offered(table: list[dict[str, Any]], best: float) -> list[float]:
    return [row["offered"] / best for row in table]


def _sum(table: list[dict[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in table))


def show(capacity: float, table: list[dict[str, Any]], memory: Memory) -> None:
    title = f"a wide perceptron, governed, {_ROWS} rows a request; capacity {capacity:.0f}/s"
    shown = Table(title=title, title_justify="left")
    figures = ("offered", "goodput", "p50_ms", "p99_ms", "refused", "refused_p99_ms")
    for name in ("load", *figures, "reasons"):
        shown.add_column(name, justify="left" if name == "reasons" else "right")
    for row in table:
        cells = ["" if row[name] is None else f"{row[name]:.0f}" for name in figures]
        shown.add_row(f"{row['load']:g}x", *cells, str(row["reasons"] or ""))
    console = Console(highlight=False)
    console.print(shown)
    console.print(f"memory {memory.mb[0]:.0f} to {memory.mb[-1]:.0f} MB")


if __name__ == "__main__":
    main()
