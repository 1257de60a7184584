"""Gateways as `sealgate serve` starts them, each with one model in production.

TLS, token, every request screened, a durable record, a receipt with each answer.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.load import LoadClient, Plan, write_requests
from benchmarks.processes import Cores, Server
from benchmarks.served import Served
from demo.materials import DATA, MODELS
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from inference.model.config import ModelConfig
from publishing.evidence.signing import SCREENING_REPORT
from publishing.source.folder import CONFIG
from sealgate.remote import connect
from sealgate.v1 import log_pb2
from sealgate.v1.log_pb2_grpc import LogServiceStub

# Screening of an input at its threshold may turn out otherwise in another batch.
_CALLERS = (1, 16, 64)
REFUSED = "InvalidArgument"
"""How the client calls a refusal by screening."""
REDUCED = "an answer of another shape"
"""And an answer that has the labels alone, which the policy gives to suspects."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation, its gateway stopped, with a model's first version in production; `name` is
    what a table calls it, `blocks` whether its screening may refuse an input, and `shown` what
    `sealgate model show` says of the version.
    """

    name: str
    model: str
    stage: Stage
    blocks: bool
    shown: Any

    def graph(self) -> bytes:
        """The very bytes of the INT8 graph that it serves."""
        files = self.shown["files"]
        digest = next(f["digest"] for f in files if f["file"] == "model.int8.onnx")
        name = digest.removeprefix("sha256:")
        return (self.stage.state / "artifacts" / name[:2] / name[2:]).read_bytes()

    def stages(self) -> dict[str, Any]:
        """The stages of screening that publishing chose, and the share of clean rows that go on."""
        evidence = self.shown["evidence"]
        report = next(each["body"] for each in evidence if each["kind"] == SCREENING_REPORT)
        found: dict[str, Any] = dict(report["stages"])
        return found | {"goes_on": report["clean"].get("goes_on", 1.0)}


@dataclass(frozen=True, slots=True)
class GovernedServer:
    """`refused` counts the inputs that screening did not let pass, which are not sent again."""

    server: Server
    plan: Plan
    recorded: Callable[[], int]
    refused: int


def install(
    state: Path, name: str, source: Path, data: Path, *options: str, transport: str = "auto"
) -> Installed:
    """Make an installation in `state`, publish the model there and promote it: a folder, or an ONNX
    file, whose screening blocks. `options` are those of `sealgate model publish`, `transport` is
    that of `[listen]`.
    """
    model, blocks = _named(source)
    stage = Stage(state)
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    configuration = state / "gateway.toml"
    listening = f'[listen]\ntransport = "{transport}"\n'
    configuration.write_text(configuration.read_text().replace("[listen]\n", listening, 1))
    with started(stage):
        promote(stage, source, data, *options)
        shown = stage.command("model", "show", model, "1", "--json", person="auditor")
        return Installed(name, model, stage, blocks, shown)


def _named(source: Path) -> tuple[str, bool]:
    """The name of a model, and whether its screening may refuse an input."""
    if source.is_file():
        return source.stem, True
    config = ModelConfig.read((source / CONFIG).read_bytes())
    return config.name, config.blocks


@contextmanager
def started(stage: Stage) -> Iterator[None]:
    """Its gateway runs, as the demo starts it, during the block."""
    stage.start_gateway()
    try:
        yield
    finally:
        stage.stop_gateway()


def promote(
    stage: Stage,
    source: Path = MODELS / "digits-standard",
    data: Path = DATA / "digits.safetensors",
    *options: str,
) -> None:
    """Publish a model's first version by the gateway that runs, and promote it; by default the
    demo's digits.
    """
    words = ("model", "publish", str(source), "--data", str(data), *options, "--json")
    stage.command(*words, person="publisher")
    promote_approved(stage, _named(source)[0], 1)


@contextmanager
def serving(
    stage: Stage, core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Its gateway in a process of its own on one core, as `sealgate serve` starts it.

    Raises: StartFailed.
    """
    words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(stage.state), "serve"]
    server = Server(words, core, log, {"OMP_NUM_THREADS": "1", **(environment or {})})
    try:
        server.await_port(int(stage.profile("client").endpoint.rpartition(":")[2]))
        yield server
    finally:
        server.stop()


@contextmanager
def running(
    installed: Installed,
    served: Served,
    cores: Cores,
    client: LoadClient,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[GovernedServer]:
    """The gateway on its core, and a plan of the requests that its screening lets pass.
    `environment` is added to the gateway's.
    """
    stage = installed.stage
    profile = stage.profile("client")
    port = int(profile.endpoint.rpartition(":")[2])
    log = folder / f"{installed.name}.log"
    with serving(stage, cores.server, log, environment) as server:
        requests = served.protobuf(installed.model, receipt=True)
        path = folder / f"{installed.name}.requests"
        plan = Plan(
            "grpc",
            f"localhost:{port}",
            write_requests(path, requests),
            served.values,
            authority=str(profile.server_authority),
            token=profile.token.read_text().strip() if profile.token else "",
            receipt=True,
        )
        places = _pass(client, plan, len(requests)) if installed.blocks else range(len(requests))
        write_requests(path, (requests[place] for place in places))
        with connect(stage.profile("auditor")) as channel:
            logs = LogServiceStub(channel)
            yield GovernedServer(server, plan, lambda: _entries(logs), len(requests) - len(places))


def _pass(client: LoadClient, plan: Plan, count: int) -> list[int]:
    """The places of the requests that are answered whoever else asks."""
    passed = set(range(count))
    for callers in _CALLERS:
        places, met = client.answered(replace(plan, in_flight=callers))
        if met.keys() - {REFUSED, REDUCED}:
            raise SystemExit(f"the gateway refused for other reasons than screening: {met}")
        passed &= set(places)
    return sorted(passed)


def _entries(logs: LogServiceStub) -> int:
    """How many entries the answer log has: the second line of its checkpoint."""
    origins = logs.ListLogs(log_pb2.ListLogsRequest()).origins
    (origin,) = (name for name in origins if name.endswith("answers"))
    note = logs.GetCheckpoint(log_pb2.GetCheckpointRequest(origin=origin)).note
    return int(note.split("\n")[1])
