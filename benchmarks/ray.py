"""What replicas on Ray Serve cost an engine: `python -m benchmarks.ray` (`make bench NAME=ray`).

The same engine, asked directly on its unix socket about digits, one row a request: once it runs its
graphs itself, once in one replica on Ray, each with everything that it starts on one core, the
client on the other. Then the replica is killed, and what a request waits for the next is measured.
Writes results/ray.json.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from benchmarks import engine_alone
from benchmarks.load import LoadClient, Plan
from benchmarks.processes import Cores, Server
from benchmarks.report import Target, write_report
from benchmarks.served import digits
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub

PYTHON = Path(".venv-ray/bin/python")
ALONE, ON_RAY = "engine alone", "one replica on Ray"
_SIDES = {
    ALONE: (sys.executable, (), ""),
    ON_RAY: (str(PYTHON.absolute()), ("--on", "ray"), "\n[ray]\nmost = 1\n"),
}
_IN_FLIGHT = (1, 64)
_REPEATS = 2
_REPLICA = b"ray::ServeReplica"
_KILLS = 2
_NEXT_SECONDS = 10.0
_WAY = "presumably the way of each batch to a replica and back; not taken apart"
_BUSY = "what else the machine does counts in full: see load_average"


def main() -> None:
    if not PYTHON.exists():
        raise SystemExit("Ray is not installed: make .venv-ray/ready")
    cores, rows, waits = Cores.of_this_machine(), [], []
    with TemporaryDirectory() as folder:
        client = LoadClient.build(Path(folder) / "client", cores.client)
        for side in _SIDES:
            with _running(side, cores, Path(folder) / side.replace(" ", "-")) as (server, plan):
                rows += [_row(side, client, server, plan, count) for count in _IN_FLIGHT]
                if side == ON_RAY:
                    waits = [_killed(server, plan) for _ in range(_KILLS)]
    _show(rows)
    # What else the machine does is in every figure but CPU seconds.
    load = os.getloadavg()[1]
    write_report("ray", rows, _targets(rows, waits), waits_after_a_kill=waits, load_average=load)


@contextmanager
def _running(side: str, cores: Cores, folder: Path) -> Iterator[tuple[Server, Plan]]:
    folder.mkdir()
    python, options, settings = _SIDES[side]
    # Of the model its requests alone are needed: the engine has it from an installation.
    with engine_alone.running(
        digits(b"", folder), cores, folder, python, options, settings
    ) as running:
        yield running


def _row(
    side: str, client: LoadClient, server: Server, plan: Plan, in_flight: int
) -> dict[str, Any]:
    """The best of several runs: what else the machine does only ever takes away."""
    asked = _with(plan, in_flight)
    cells = [client.measure(asked, server) for _ in range(_REPEATS)]
    best = max(cells, key=lambda cell: cell.ok)
    return {
        "what": side,
        "in_flight": in_flight,
        "per_second": best.rate,
        "cpu_ms": best.cpu_ms,
        "p50_ms": best.p50_ms,
        "p99_ms": best.p99_ms,
        "memory_mb": best.memory / 1e6,
        "failures": sum(sum(cell.failures.values()) for cell in cells),
    }


def _with(plan: Plan, in_flight: int) -> Plan:
    return Plan(
        plan.protocol,
        plan.address,
        plan.requests,
        plan.values,
        in_flight=in_flight,
        warm=1.0,
        seconds=4.0,
    )


def _killed(server: Server, plan: Plan) -> float:
    """Seconds that a request waits which comes when the only replica has just been killed."""
    with Path(plan.requests).open("rb") as file:
        size = int.from_bytes(file.read(4), "little")
        request = oip.ModelInferRequest.FromString(file.read(size))
    with grpc.insecure_channel(plan.address.replace("unix://", "unix:")) as channel:
        stub = GRPCInferenceServiceStub(channel)
        stub.ModelInfer(request, timeout=_NEXT_SECONDS)
        (replica,) = [pid for pid in server.ticks() if _name(pid).startswith(_REPLICA)]
        os.kill(replica, signal.SIGKILL)
        began = time.monotonic()
        while True:
            try:
                stub.ModelInfer(request, timeout=_NEXT_SECONDS)
                return time.monotonic() - began
            except grpc.RpcError:
                if time.monotonic() - began > 6 * _NEXT_SECONDS:
                    raise


def _name(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _targets(rows: list[dict[str, Any]], waits: list[float]) -> list[Target]:
    found = {(row["what"], row["in_flight"]): row for row in rows}
    alone, ray = (found[side, _IN_FLIGHT[-1]] for side in _SIDES)
    added = found[ON_RAY, 1]["p50_ms"] - found[ALONE, 1]["p50_ms"]
    return [
        Target(
            "CPU of a request, 64 in flight: Ray / alone", ray["cpu_ms"] / alone["cpu_ms"], 2.0
        ).because(_WAY),
        Target(
            "rate on one core, 64 in flight: Ray / alone",
            ray["per_second"] / alone["per_second"],
            0.5,
            least=True,
        ).because(_WAY),
        Target("p50 that Ray adds to a lone request, ms", added, 5.0).because(_WAY),
        Target("the longest wait after the only replica is killed, s", max(waits), 10.0).because(
            _BUSY
        ),
        Target("requests that failed", sum(row["failures"] for row in rows), 0.0),
    ]


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="digits, one row a request, server on one core")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    Console().print(table)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
