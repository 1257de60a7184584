"""What an engine in a process of its own adds to a request: `python -m benchmarks.engine`.

Two installations serve the same digits model on this machine, one with the engine in the gateway's
process, one with it behind a unix socket. They are asked by turns, one request at a time, so that
what else the machine does falls on both. Writes results/engine.json.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from benchmarks.report import Target, write_report
from demo.materials import DATA, MODELS, test_rows
from demo.questions import question, reason_for
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect

_WHAT = {False: "engine in the gateway's process", True: "engine behind a unix socket"}
_ROUND = 50
_WARM = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help=f"of {_ROUND} requests on each side")
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as folder, ExitStack() as end:
        sides = {
            separate: end.enter_context(_serving(Path(folder) / str(separate), separate))
            for separate in _WHAT
        }
        requests = _answered(list(sides.values()))
        times: dict[bool, list[float]] = {separate: [] for separate in sides}
        for number in range(rounds + _WARM // _ROUND):
            for separate, stub in sides.items():
                taken = [_ask(stub, requests[n % len(requests)]) for n in range(_ROUND)]
                if number >= _WARM // _ROUND:
                    times[separate] += taken
    table = []
    for separate, taken in times.items():
        p50, p99 = map(float, np.percentile(taken, (50, 99)))
        table.append(
            {"what": _WHAT[separate], "requests": len(taken), "p50_ms": p50, "p99_ms": p99}
        )
        Console().print(f"{_WHAT[separate]}: p50 {p50:.3f} ms, p99 {p99:.3f} ms")
    added = float(np.median(times[True]) - np.median(times[False]))
    Console().print(f"added p50: {added:.3f} ms")
    write_report("engine", table, [Target("p50 that a unix socket adds, ms", added, 2.0)])


@contextmanager
def _serving(state: Path, separate: bool) -> Iterator[GRPCInferenceServiceStub]:
    stage = Stage(state)
    options = ["--separate-engine"] if separate else []
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()), *options)
    engine = _start_engine(state) if separate else None
    try:
        stage.start_gateway()
        data = str(DATA / "digits.safetensors")
        folder = str(MODELS / "digits-1")
        stage.command("model", "publish", folder, "--data", data, person="publisher")
        promote_approved(stage, "digits", 1)
        with connect(stage.profile("client")) as channel:
            yield GRPCInferenceServiceStub(channel)
    finally:
        stage.stop_gateway()
        if engine is not None:
            engine.terminate()
            engine.wait()


def _start_engine(state: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sealgate.cli.main", "--state", str(state)]
    engine = subprocess.Popen([*command, "serve", "engine"], stdout=subprocess.PIPE, text=True)
    if engine.stdout is not None:
        engine.stdout.readline()
    return engine


def _answered(stubs: list[GRPCInferenceServiceStub]) -> list[oip.ModelInferRequest]:
    """Requests of one row that screening lets through on both sides."""
    requests = [question("digits", row[None], receipt=True) for row in test_rows("digits")[:60]]
    return [r for r in requests if all(reason_for(stub, r) is None for stub in stubs)]


def _ask(stub: GRPCInferenceServiceStub, request: oip.ModelInferRequest) -> float:
    """Milliseconds of one request."""
    began = time.perf_counter()
    stub.ModelInfer(request, timeout=10)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
