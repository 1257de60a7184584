"""The engine in a process of its own, asked directly: `sealgate serve engine`, without a gateway.

It runs the full graph for every request, so what screening costs is in it; there is no token, no
TLS (it listens on a unix socket), no verdict and no record. A gateway is there only until it has
shown the engine what is in production.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from benchmarks.load import Plan, write_requests
from benchmarks.processes import Cores, Server, StartFailed
from benchmarks.served import Served
from demo.materials import DATA, MODELS
from demo.stage import Stage, StepFailed, free_ports
from demo.story import promote_approved
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub

_SEALGATE = ("-m", "sealgate.cli.main")
_WAIT_SECONDS = 150.0
_LOOK_SECONDS = 0.1


@contextmanager
def running(
    served: Served,
    cores: Cores,
    folder: Path,
    python: str = sys.executable,
    options: Sequence[str] = (),
    settings: str = "",
) -> Iterator[tuple[Server, Plan]]:
    """The engine on its core, with digits in production; `python` runs it, with those `options`,
    and its configuration has those `settings` as well.

    Raises: StartFailed.
    """
    stage = Stage(folder / "engine-state")
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()), "--separate-engine")
    with (stage.state / "engine.toml").open("a") as file:
        file.write(settings)
    log = folder / "engine.log"
    server = Server(
        [python, *_SEALGATE, "--state", str(stage.state), "serve", "engine", *options],
        cores.server,
        log,
        {"OMP_NUM_THREADS": "1"},
    )
    try:
        socket = (stage.state / "engine" / "engine.sock").absolute()
        _await(socket.exists, server)
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            digest = _promote(stage, server, stub)
            messages = [_addressed(one, digest) for one in served.protobuf("digits")]
            answer = stub.ModelInfer(messages[0], timeout=10)
        values = sum(map(len, answer.raw_output_contents)) // 4
        requests = folder / "engine.requests"
        path = write_requests(requests, (one.SerializeToString() for one in messages))
        yield server, Plan("grpc", f"unix://{socket}", path, values)
    except (StepFailed, grpc.RpcError) as error:
        raise StartFailed(str(error)[:200]) from error
    finally:
        server.stop()


def _promote(stage: Stage, server: Server, stub: GRPCInferenceServiceStub) -> str:
    """Puts digits into production, and returns the digest of that version."""
    ready = oip.ModelReadyRequest(name="digits")
    stage.start_gateway()
    try:
        stage.command(
            *("model", "publish", str(MODELS / "digits-1")),
            *("--data", str(DATA / "digits.safetensors"), "--json"),
            person="publisher",
        )
        promote_approved(stage, "digits", 1)
        _await(lambda: stub.ModelReady(ready, timeout=10).ready, server)
        shown = stage.command("model", "show", "digits", "1", "--json", person="auditor")
        return str(shown["digest"])
    finally:
        stage.stop_gateway()


def _addressed(message: bytes, digest: str) -> oip.ModelInferRequest:
    """A request as a gateway puts it: to a version by number and digest."""
    request = oip.ModelInferRequest.FromString(message)
    request.model_version = "1"
    request.parameters["digest"].string_param = digest
    return request


def _await(ready: Callable[[], bool], server: Server) -> None:
    """Returns once that is so. Raises: StartFailed."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise StartFailed(server.last_line())
        time.sleep(_LOOK_SECONDS)
