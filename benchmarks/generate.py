"""`make bench-generate`: a language model's tokens a second, alone, behind its door, and governed.

The model has Qwen2's architecture and random weights; what a token costs does not depend on what it
says. `plain` is transformers' `generate`, one prompt after another, in float32 and in INT8.
`engine` is the generator's process asked through its own socket, as the gateway asks it:
continuous batching, the screen's run over each prompt, no gateway. `gateway` is the same process
behind the gateway, with TLS, rights, records and receipts. The generator has one core; gateway and
callers share the other. Prints a
table; writes results/generate.json.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import alone
from benchmarks.alone import TOKENS
from benchmarks.processes import Cores, Server, pinned
from benchmarks.report import Target, write_report
from generation.decoder import Decoder
from generation.surprise import WINDOW, score
from inference.generation import Asked, Sampling
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, write_inputs
from tests.support import tiny_decoder
from tests.support.generator_house import GeneratorHouse

STREAMS = (1, 4, 16)
_WIDTH, _LAYERS = 512, 12
_SECONDS = 120.0
_LEAST = 0.95
_WHY = (
    "each token passes a process more, and its caller is admitted anew; gateway and callers share "
    "a core, and the machine was doing other work"
)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens a second of all streams together, and the seconds until each stream's first token."""

    tokens: float
    first: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small model, one round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, layers = (64, 2) if options.quick else (_WIDTH, _LAYERS)
    rounds = 1 if options.quick else options.rounds
    with TemporaryDirectory() as place:
        folder = tiny_decoder.make(Path(place) / "model", steps=0, width=width, layers=layers)
        rows = alone.beside(folder, tiny_decoder.prompts(9))
        plain = rows[0]["tokens_s"]
        prompts = _clean(folder)
        with _served(Path(place) / "state", folder, prompts[0]) as ways:
            rows += _measured(ways, rounds, prompts)
    _show(rows)
    targets = [
        Target(
            f"tokens/s through the gateway beside the engine alone, {streams} streams",
            _of(rows, "gateway", streams) / _of(rows, "engine", streams),
            _LEAST,
            least=True,
            why=_WHY,
        )
        for streams in STREAMS
    ]
    targets.append(
        Target(
            "tokens/s of 16 streams beside plain generate",
            _of(rows, "gateway", 16) / plain,
            2.0,
            least=True,
        )
    )
    for target in targets:
        print(target.line())
    if not options.quick:
        model = {"width": width, "layers": layers, "vocabulary": tiny_decoder.VOCABULARY}
        write_report("generate", rows, targets, model=model, tokens=TOKENS)


@contextmanager
def _served(state: Path, folder: Path, prompt: str) -> Iterator[dict[str, Any]]:
    """The two ways to ask, once `prompt` is answered, while generator and gateway run as
    processes.
    """
    house = GeneratorHouse(state)
    house.start_generator()
    house.start()
    house.publish_generator(folder)
    house.promote("tiny", 1)
    digest = house.digest()
    house.stop()
    house.stop_generator()
    cores = Cores.of_this_machine()
    program = ("python", "-m", "sealgate.cli.main", "--state", str(state), "serve")
    generator = Server((*program, "generator"), cores.server, state / "generator.log")
    gateway = None
    try:
        _await(lambda: (state / "engine" / "engine.sock").exists())
        gateway = Server(program, cores.client, state / "gateway.log")
        port = int(house.profile("client").endpoint.rpartition(":")[2])
        gateway.await_port(port)
        with (
            grpc.insecure_channel(f"unix:{(state / 'engine' / 'engine.sock').absolute()}") as door,
            pinned({cores.client}),
        ):
            direct = _Direct(GRPCInferenceServiceStub(door), digest)
            governed = house.inference()
            _await(lambda: _answers(governed, prompt))
            yield {"engine": direct, "gateway": governed}
    finally:
        house._channels.close()
        for server in filter(None, (gateway, generator)):
            server.stop()


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


def _clean(folder: Path) -> list[str]:
    """Prompts that screening lets pass, the least surprising first: it refuses a few of any."""
    decoder = Decoder.read(folder)

    def surprise(prompt: str) -> float:
        ids = decoder.prompt_ids(Asked(prompt.encode(), False, Sampling(1)), 96)
        return score(decoder.model, ids, WINDOW)

    return sorted(tiny_decoder.prompts(90), key=surprise)[: 4 * max(STREAMS)]


def _measured(ways: dict[str, Any], rounds: int, prompts: list[str]) -> list[dict[str, Any]]:
    """Ways take turns, since machines drift."""
    found: dict[tuple[str, int], list[Run]] = {}
    for streams in STREAMS:
        for number in range(rounds + 1):
            for way, stub in ways.items():
                run = _run(stub, streams, prompts[: 4 * streams])
                # The first round warms.
                if number:
                    found.setdefault((way, streams), []).append(run)
    return [
        {
            "way": way,
            "streams": streams,
            "tokens_s": float(np.median([run.tokens for run in runs])),
            "first_p50_ms": 1e3 * float(np.median([s for run in runs for s in run.first])),
            "first_p99_ms": 1e3 * float(np.percentile([s for run in runs for s in run.first], 99)),
        }
        for (way, streams), runs in found.items()
    ]


def _run(stub: Any, streams: int, prompts: list[str]) -> Run:
    begun = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        told = list(pool.map(lambda prompt: _stream(stub, prompt), prompts))
    seconds = time.perf_counter() - begun
    return Run(sum(count for count, _ in told) / seconds, tuple(first for _, first in told))


def _stream(stub: Any, prompt: str) -> tuple[int, float]:
    """How many tokens came, and how long the first took."""
    begun, first, count = time.perf_counter(), 0.0, 0
    for message in stub.ModelStreamInfer(iter([_request(prompt)]), timeout=_SECONDS):
        if message.error_message:
            raise SystemExit(message.error_message)
        if "score" not in message.infer_response.parameters:
            count += 1
            first = first or time.perf_counter() - begun
    return count, first


def _request(prompt: str) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = TOKENS
    array = np.empty(1, object)
    array[0] = prompt.encode()
    write_inputs(request, [Tensor.of("text_input", array)])
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


def _of(rows: list[dict[str, Any]], way: str, streams: int) -> float:
    return float(next(r["tokens_s"] for r in rows if (r["way"], r["streams"]) == (way, streams)))


def _show(rows: list[dict[str, Any]]) -> None:
    names = ("tokens_s", "first_p50_ms", "first_p99_ms", "weights_mb", "peak_mb")
    table = Table("way", "precision", "streams", *names, box=None)
    for row in rows:
        figures = (row.get(name) for name in names)
        shown = ("-" if figure is None else f"{figure:.1f}" for figure in figures)
        table.add_row(row["way"], row.get("precision", ""), str(row["streams"]), *shown)
    Console().print(table)


if __name__ == "__main__":
    main()
