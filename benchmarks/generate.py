"""`make bench NAME=generate`: a language model's tokens a second, plain, served and governed.

The model has Qwen2's architecture and random weights; what a token costs does not depend on what it
says. `plain` is transformers' `generate`, one prompt after another, in float32 and in INT8; so,
too, for the real model, where `make demo-llm` has fetched it. `engine` is the generator's process
asked through its own socket, as the gateway asks it: continuous batching, the screen's run over
each prompt, no gateway. `gateway` is the same process behind the gateway, with TLS, rights, records
and receipts. The generator has one core; gateway and callers share the other. Ways take turns in
short rounds, and their ratio is taken within a round, since machines drift; CPU times, which other
work changes least, are those of either process for each token. Prints a table; writes
results/generate.json.
"""

import argparse
import sys
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

from benchmarks import alone
from benchmarks.alone import TOKENS
from benchmarks.processes import Cores, Server, cpu_seconds, pinned
from benchmarks.report import Target, finish, show
from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, score
from inference.llm.request import Sampling, SamplingRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, write_inputs
from tests.support.builders.models import tiny_decoder
from tests.support.harness.generator import GeneratorHarness

STREAMS = (1, 4, 16)
_WIDTH, _LAYERS = 512, 12
_SECONDS = 120.0
_REAL = Path(__file__).parents[1] / "build" / "llm" / "qwen"
_LEAST = 0.95
_TIMES = ("first_p50_ms", "first_p99_ms", "generator_cpu_ms", "gateway_cpu_ms")
_SHOWN = ("tokens_s", *_TIMES, "weights_mb", "peak_mb")
_WHY = (
    "each token passes a process more; gateway and callers share a core, and the machine was doing "
    "other work"
)


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens a second of all streams together, the seconds until each stream's first token, and the
    CPU seconds of each process for a token.
    """

    tokens: float
    first: tuple[float, ...]
    cpu: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
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
        with _served(Path(place) / "state", folder, prompts[0]) as (ways, servers):
            runs = _runs(ways, servers, rounds, prompts)
    rows += [_row(*key, found) for key, found in runs.items()]
    if _REAL.exists() and not options.quick:
        real = alone.beside(_REAL, tiny_decoder.prompts(5))
        rows += [row | {"way": "plain, Qwen2.5-0.5B"} for row in real]
    show(rows, ("way", "precision", "streams", *_SHOWN))
    targets = [_beside(runs, streams) for streams in STREAMS]
    targets.append(
        Target(
            "tokens/s of 16 streams beside plain generate",
            _of(rows, "gateway", 16) / plain,
            2.0,
            least=True,
        )
    )
    if options.quick:
        return
    model = {"width": width, "layers": layers, "vocabulary": tiny_decoder.VOCABULARY}
    finish("generate", rows, targets, model=model, tokens=TOKENS)


@contextmanager
def _served(
    state: Path, folder: Path, prompt: str
) -> Iterator[tuple[dict[str, Any], dict[str, Server]]]:
    """The two ways to ask, once `prompt` is answered, while generator and gateway run, and these
    processes.
    """
    # One caller may have three quarters of a quarter of the threads for streams.
    harness = GeneratorHarness(state, f"\n[limits]\nthreads = {8 * max(STREAMS)}\n")
    harness.start_generator()
    harness.start()
    harness.publish_generator(folder)
    harness.promote("tiny", 1)
    digest = harness.digest()
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
        with (
            grpc.insecure_channel(
                f"unix:{(state / 'engine' / 'engine.sock').absolute()}"
            ) as channel,
            pinned({cores.client}),
        ):
            direct = _Direct(GRPCInferenceServiceStub(channel), digest)
            governed = harness.inference()
            _await(lambda: _answers(governed, prompt))
            ways = {"engine": direct, "gateway": governed}
            yield ways, {"generator": generator, "gateway": gateway}
    finally:
        harness._channels.close()
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
    decoder = LanguageModel.read(folder)

    def surprise(prompt: str) -> float:
        ids = decoder.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), 96)
        return score(decoder.model, ids, WINDOW)

    return sorted(tiny_decoder.prompts(90), key=surprise)[: 4 * max(STREAMS)]


def _runs(
    ways: dict[str, Any], servers: dict[str, Server], rounds: int, prompts: list[str]
) -> dict[tuple[str, int], list[Run]]:
    """The runs of each way with so many streams, in the order of the rounds."""
    found: dict[tuple[str, int], list[Run]] = {}
    for streams in STREAMS:
        for number in range(rounds + 1):
            # Each comes first as often as the other.
            for way in sorted(ways, reverse=bool(number % 2)):
                run = _run(ways[way], servers, streams, prompts[: 2 * streams])
                # The first round warms.
                if number:
                    found.setdefault((way, streams), []).append(run)
    return found


def _row(way: str, streams: int, runs: list[Run]) -> dict[str, Any]:
    firsts = [seconds for run in runs for seconds in run.first]
    row = {
        "way": way,
        "streams": streams,
        "tokens_s": float(np.median([run.tokens for run in runs])),
        "first_p50_ms": 1e3 * float(np.median(firsts)),
        "first_p99_ms": 1e3 * float(np.percentile(firsts, 99)),
    }
    for name in runs[0].cpu:
        row[f"{name}_cpu_ms"] = 1e3 * float(np.median([run.cpu[name] for run in runs]))
    return row


def _beside(runs: dict[tuple[str, int], list[Run]], streams: int) -> Target:
    pairs = zip(runs["gateway", streams], runs["engine", streams], strict=True)
    ratio = float(np.median([ours.tokens / alone.tokens for ours, alone in pairs]))
    name = f"tokens/s through the gateway beside the engine alone, {streams} streams"
    return Target(name, ratio, _LEAST, least=True, why="" if ratio >= _LEAST else _WHY)


def _run(stub: Any, servers: dict[str, Server], streams: int, prompts: list[str]) -> Run:
    before = {name: server.ticks() for name, server in servers.items()}
    begun = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        told = list(pool.map(lambda prompt: _stream(stub, prompt), prompts))
    seconds = time.perf_counter() - begun
    tokens = sum(count for count, _ in told)
    cpu = {
        name: cpu_seconds(before[name], server.ticks()) / tokens for name, server in servers.items()
    }
    return Run(tokens / seconds, tuple(first for _, first in told), cpu)


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


if __name__ == "__main__":
    main()
