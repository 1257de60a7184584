"""A gateway as `sealgate serve` starts it, with the digits model in production.

TLS, token, every request screened by the full graph, a durable record, a receipt with each answer.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load import LoadClient, Plan, write_requests
from benchmarks.processes import Cores, Server
from benchmarks.served import Served, digits
from demo.materials import DATA, MODELS
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.remote import connect
from sealgate.v1 import log_pb2
from sealgate.v1.log_pb2_grpc import LogServiceStub

# Screening of an input at its threshold may turn out otherwise in another batch.
_CALLERS = (1, 16, 64)
REFUSED = "InvalidArgument"
"""How the client calls a refusal by screening."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """`refused` counts the inputs that screening refused, which are not sent again."""

    server: Server
    plan: Plan
    recorded: Callable[[], int]
    refused: int


def prepare(folder: Path) -> tuple[Stage, Served]:
    """An installation whose gateway is stopped again, and the very bytes that it serves."""
    stage = Stage(folder / "state")
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    stage.start_gateway()
    try:
        stage.command(
            *("model", "publish", str(MODELS / "digits-1")),
            *("--data", str(DATA / "digits.safetensors"), "--json"),
            person="publisher",
        )
        promote_approved(stage, "digits", 1)
        return stage, digits(served_graph(stage), folder)
    finally:
        stage.stop_gateway()


def served_graph(stage: Stage) -> bytes:
    """The bytes of the INT8 graph of digits, version 1."""
    files = stage.command("model", "show", "digits", "1", "--json", person="auditor")["files"]
    digest = next(f["digest"] for f in files if f["file"] == "model.int8.onnx")
    name = digest.removeprefix("sha256:")
    return (stage.state / "artifacts" / name[:2] / name[2:]).read_bytes()


@contextmanager
def running(
    stage: Stage, served: Served, cores: Cores, client: LoadClient, folder: Path
) -> Iterator[Gateway]:
    """The gateway on its core, and a plan of the requests that its screening lets pass."""
    profile = stage.profile("client")
    port = int(profile.endpoint.rpartition(":")[2])
    server = Server(
        [sys.executable, "-m", "sealgate.cli.main", "--state", str(stage.state), "serve"],
        cores.server,
        folder / "gateway.log",
        {"OMP_NUM_THREADS": "1"},
    )
    try:
        server.await_port(port)
        requests = served.protobuf("digits", receipt=True)
        path = folder / "governed.requests"
        plan = Plan(
            "grpc",
            f"localhost:{port}",
            write_requests(path, requests),
            served.values,
            authority=str(profile.server_authority),
            token=profile.token.read_text().strip() if profile.token else "",
            receipt=True,
        )
        places = _pass(client, plan, len(requests))
        write_requests(path, (requests[place] for place in places))
        with connect(stage.profile("auditor")) as channel:
            logs = LogServiceStub(channel)
            yield Gateway(server, plan, lambda: _entries(logs), len(requests) - len(places))
    finally:
        server.stop()


def _pass(client: LoadClient, plan: Plan, count: int) -> list[int]:
    """The places of the requests that are answered whoever else asks."""
    passed = set(range(count))
    for callers in _CALLERS:
        places, met = client.answered(replace(plan, in_flight=callers))
        if met.keys() - {REFUSED}:
            raise SystemExit(f"the gateway refused for other reasons than screening: {met}")
        passed &= set(places)
    return sorted(passed)


def _entries(logs: LogServiceStub) -> int:
    """How many entries the answer log has: the second line of its checkpoint."""
    origins = logs.ListLogs(log_pb2.ListLogsRequest()).origins
    (origin,) = (name for name in origins if name.endswith("answers"))
    note = logs.GetCheckpoint(log_pb2.GetCheckpointRequest(origin=origin)).note
    return int(note.split("\n")[1])
