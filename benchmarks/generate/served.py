"""A language model as the gateway serves it, asked directly and through the gateway."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.generate.alone import TOKENS
from benchmarks.processes import Cores, Server, cpu_seconds, pinned
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, read_outputs, write_inputs
from tests.support.harness.generator import GeneratorHarness

STREAMS = (1, 4, 16)
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens a second of all streams together, the seconds until each stream's first token, the
    CPU seconds of each process for a token, and each answer's ids.
    """

    tokens: float
    first: tuple[float, ...]
    cpu: dict[str, float] = field(default_factory=dict)
    ids: tuple[tuple[int, ...], ...] = ()


Way = Callable[[int, Sequence[str]], Run]
"""Asks so many prompts at once until all are answered."""
Runs = dict[tuple[str, int], list[Run]]
"""Of each way with so many streams, in the order of the rounds."""


class Refused(SystemExit):
    """A prompt was not answered; the text is the gateway's."""


@contextmanager
def served(
    state: Path, folder: Path, prompt: str, asked: Sequence[str] = (), precision: str = "float32"
) -> Iterator[tuple[dict[str, Way], Path]]:
    """The ways `engine` and `gateway` to ask a model, once `prompt` is answered, and the folder of
    its published files. `asked` is as for `publish_generator`.
    """
    # One caller may have three quarters of a quarter of the threads for streams.
    harness = GeneratorHarness(state, f"\n[limits]\nthreads = {8 * max(STREAMS)}\n")
    harness.start_generator()
    harness.start()
    harness.publish_generator(folder, asked=asked, more=("--precision", precision))
    # A large model takes longer to load than `harness.promote` waits.
    harness.governance("admin").promote(harness.approved("tiny", 1), "measured")
    engine = harness.gateway.engine if harness.gateway else None
    _await(lambda: engine is not None and ("tiny", "production") in engine.live())
    digest, published = harness.digest(), _published(harness, state.with_name("published"))
    harness.stop()
    harness.stop_generator()
    cores = Cores.of_this_machine()
    program = (sys.executable, "-m", "sealgate.cli.main", "--state", str(state), "serve")
    generator = Server((*program, "generator"), cores.server, state / "generator.log")
    gateway = None
    try:
        _await(lambda: (state / "engine" / "engine.sock").exists())
        gateway = Server(program, cores.client, state / "gateway.log")
        port = int(harness.profile("client").endpoint.rpartition(":")[2])
        gateway.await_port(port)
        socket = f"unix:{(state / 'engine' / 'engine.sock').absolute()}"
        with grpc.insecure_channel(socket) as channel, pinned({cores.client}):
            servers = {"generator": generator, "gateway": gateway}
            direct = _Direct(GRPCInferenceServiceStub(channel), digest)
            governed = harness.inference()
            _await(lambda: _answers(governed, prompt))
            yield (
                {
                    "engine": lambda streams, prompts: _run(direct, servers, streams, prompts),
                    "gateway": lambda streams, prompts: _run(governed, servers, streams, prompts),
                },
                published,
            )
    finally:
        harness.stop()
        for server in filter(None, (gateway, generator)):
            server.stop()


def rounds(ways: dict[str, Way], count: int, prompts: Sequence[str], each: int) -> Runs:
    """`count` rounds, and one before them that warms; with `each` prompts for a stream."""
    found: Runs = {}
    for streams in STREAMS:
        for number in range(count + 1):
            # Each comes first as often as the others.
            turn = number % len(ways)
            for way in (*list(ways)[turn:], *list(ways)[:turn]):
                run = ways[way](streams, prompts[: each * streams])
                if number:
                    found.setdefault((way, streams), []).append(run)
                    print(f"{streams} streams, {way}: {run.tokens:.1f} tokens/s", flush=True)
    return found


def passing(way: Way, prompts: Sequence[str], count: int) -> list[str]:
    """The first `count` prompts that are answered. Raises: SystemExit if there are fewer."""
    found = list[str]()
    for prompt in prompts:
        if len(found) == count:
            break
        try:
            way(1, [prompt])
        except Refused as refusal:
            print(f"left out: {refusal}", flush=True)
        else:
            found.append(prompt)
    if len(found) < count:
        raise SystemExit(f"{len(found)} prompts are answered, not {count}")
    return found


def row(way: str, streams: int, runs: Sequence[Run]) -> dict[str, Any]:
    """Medians of runs."""
    firsts = [seconds for run in runs for seconds in run.first]
    found = {
        "way": way,
        "streams": streams,
        "tokens_s": float(np.median([run.tokens for run in runs])),
        "first_p50_ms": 1e3 * float(np.median(firsts)),
        "first_p99_ms": 1e3 * float(np.percentile(firsts, 99)),
    }
    for name in runs[0].cpu:
        found[f"{name}_cpu_ms"] = 1e3 * float(np.median([run.cpu[name] for run in runs]))
    return found


def ratio(runs: Runs, way: str, other: str, streams: int) -> float:
    """The median of what a way does beside another, each within a round."""
    pairs = zip(runs[way, streams], runs[other, streams], strict=True)
    return float(np.median([one.tokens / two.tokens for one, two in pairs]))


def _published(harness: GeneratorHarness, place: Path) -> Path:
    """The files of version 1 by their names, as links to where the registry keeps them."""
    place.mkdir()
    kept = {path.name: path for path in (harness.state / "artifacts").rglob("*") if path.is_file()}
    told = harness.command("model", "show", "tiny", "1", "--json")
    for entry in json.loads(told.output)["files"]:
        digest = entry["digest"].removeprefix("sha256:")
        path = next(path for name, path in kept.items() if digest.endswith(name))
        (place / entry["file"]).symlink_to(path.absolute())
    return place


class _Direct:
    """Asks the generator as the gateway does."""

    def __init__(self, stub: GRPCInferenceServiceStub, digest: str) -> None:
        self._stub = stub
        self._digest = digest

    def ModelStreamInfer(self, requests: Iterator[oip.ModelInferRequest], timeout: float) -> Any:  # noqa: N802
        return self._stub.ModelStreamInfer(map(self._named, requests), timeout=timeout)

    def _named(self, request: oip.ModelInferRequest) -> oip.ModelInferRequest:
        request.model_version = "1"
        request.parameters["digest"].string_param = self._digest
        return request


def _run(stub: Any, servers: dict[str, Server], streams: int, prompts: Sequence[str]) -> Run:
    before = {name: server.ticks() for name, server in servers.items()}
    begun = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        told = list(pool.map(lambda prompt: _stream(stub, prompt), prompts))
    seconds = time.perf_counter() - begun
    tokens = sum(len(ids) for ids, _ in told)
    cpu = {
        name: cpu_seconds(before[name], server.ticks()) / tokens for name, server in servers.items()
    }
    firsts = tuple(first for _, first in told)
    return Run(tokens / seconds, firsts, cpu, tuple(tuple(ids) for ids, _ in told))


def _stream(stub: Any, prompt: str) -> tuple[list[int], float]:
    """The ids that came, and how long the first took."""
    begun, first, ids = time.perf_counter(), 0.0, list[int]()
    for message in stub.ModelStreamInfer(iter([_request(prompt)]), timeout=_SECONDS):
        if message.error_message:
            raise Refused(message.error_message)
        if "score" not in message.infer_response.parameters:
            ids += read_outputs(message.infer_response)["token_ids"].data.ravel().tolist()
            first = first or time.perf_counter() - begun
    return ids, first


def _request(prompt: str) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = TOKENS
    write_inputs(request, [Tensor.of_text("text_input", prompt.encode())])
    return request


def _answers(stub: Any, prompt: str) -> bool:
    try:
        _stream(stub, prompt)
    except (SystemExit, grpc.RpcError):
        return False
    return True


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("it never came up")
        time.sleep(0.2)
