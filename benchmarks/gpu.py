"""`make bench NAME=gpu`: what runs a version's graphs, and how; on a GPU where there is one.

For each provider that this machine has (the processor always; CUDA, TensorRT), and each way of
running a batch, the milliseconds of the two graphs that a request runs, screening's and the INT8
model's, by rows. Every version is held to its golden answers when it is built. On a GPU also CUDA
graphs, whose promise is 18% (target), and training and generation on torch's card. Where there is
no GPU, every target is marked NOT RUN, and the processor is measured: runs on buffers
that stay in place beside plain ones, and what a deterministic mode costs.

Ways take turns within each round, since machines drift.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from benchmarks import gpu_torch
from benchmarks.gpu_torch import SAID, SAID_ON_CARD, TRAINED, TRAINED_ON_CARD
from benchmarks.report import Target, finish, show
from benchmarks.wide import wide_files
from demo.materials import test_rows
from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.runtime.providers import check_provider
from inference.runtime.session import BoundRuns, Session
from inference.runtime.settings import (
    CPU,
    CUDA,
    TENSORRT,
    CpuSettings,
    RunSettings,
    RuntimeSettings,
)
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError

ROWS = (1, 4, 16, 64)
_GAIN = 0.18
_NOT_RUN = "no such device on this machine"
_NO_GPU = "NOT RUN ON A GPU: onnxruntime can use none here, and nothing below was measured on one."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    rounds, runs = (3, 20) if parser.parse_args().quick else (7, 100)
    gpus, missing = _gpus()
    if not gpus:
        print(_NO_GPU)
    with TemporaryDirectory() as folder:
        files = wide_files(Path(folder))
    ways, refused = _ways(files, gpus)
    table = _measured(ways, test_rows("digits"), rounds, runs)
    lines = [
        {"way": way} | {f"{row['rows']} rows": row["ms"] for row in table if row["way"] == way}
        for way in ways
    ]
    show(lines, title="a wide perceptron, screened: ms a batch")
    torch_ms = gpu_torch.measured()
    if not torch_ms:
        missing["training and generation on a card"] = "torch sees none"
    more: dict[str, Any] = {"gpu": bool(gpus)} | ({} if gpus else {"note": _NO_GPU})
    more["torch_ms"] = torch_ms
    finish("gpu", table, targets(table, torch_ms), {**missing, **refused}, **more)


def _gpus() -> tuple[list[str], dict[str, str]]:
    """The providers of a GPU that can be used here, and why others cannot."""
    found, missing = [], {}
    for name in (CUDA, TENSORRT):
        try:
            check_provider(RuntimeSettings(name))
            found.append(name)
        except ConfigError as error:
            missing[name] = str(error)[:300]
    return found, missing


def _ways(
    files: dict[str, bytes], gpus: list[str]
) -> tuple[dict[str, Callable[[Any], object]], dict[str, str]]:
    """The functions that run a batch in each way, and why others cannot."""
    settings = {CPU: RuntimeSettings()}
    settings["cpu, deterministic"] = RuntimeSettings(deterministic=True)
    for name in gpus:
        # Its kernels round in their own way; a step of quantization is what that may come to.
        plain = RuntimeSettings(name, tolerance=0.1)
        settings[name] = plain
        settings[f"{name}, deterministic"] = replace(plain, deterministic=True)
        settings[f"{name}, captured"] = replace(plain, cuda_graphs=True)
    ways: dict[str, Callable[[Any], object]] = {}
    refused = {}
    for name, stated in settings.items():
        try:
            ready = ReadyVersion.build("", files, CpuSettings(1), running=RunSettings(stated))
        except SealgateError as refusal:
            refused[name] = str(refusal)[:300]
            continue
        ways[name] = ready._infer
    for name in (CPU, *gpus):
        ways[f"{name}, serving graph"], ways[f"{name}, serving graph, bound"] = _alone(files, name)
    return ways, refused


def _alone(files: dict[str, bytes], provider: str) -> tuple[Callable[[Any], object], ...]:
    """The INT8 graph by itself: run as it comes, and on buffers that stay where they are."""
    session = Session.open(files[version_contents.INT8], ("logits",), 1, RuntimeSettings(provider))
    bound = BoundRuns(session._session, "cpu" if provider == CPU else "cuda")

    def plain(x: Any) -> object:
        return session.run({"x": x})

    def kept(x: Any) -> object:
        return bound.run(("logits",), {"x": x}, onnxruntime.RunOptions())

    return plain, kept


def _measured(
    ways: dict[str, Callable[[Any], object]], rows: Any, rounds: int, runs: int
) -> list[dict[str, Any]]:
    """Milliseconds of a batch: the median of the rounds' best."""
    best: dict[tuple[str, int], list[float]] = {(w, n): [] for w in ways for n in ROWS}
    for _ in range(rounds):
        for (name, size), times in best.items():
            x = np.ascontiguousarray(rows[:size])
            ways[name](x)
            times.append(min(_timed(ways[name], x) for _ in range(runs)))
    return [
        {"way": name, "rows": size, "ms": 1000 * float(np.median(times))}
        for (name, size), times in best.items()
    ]


def _timed(way: Callable[[Any], object], x: Any) -> float:
    began = time.perf_counter()
    way(x)
    return time.perf_counter() - began


def targets(table: list[dict[str, Any]], torch_ms: Mapping[str, float]) -> list[Target]:
    """The targets of a GPU. Without one, none has a value: the processor's figures say nothing of
    it. `torch_ms` are the milliseconds of torch's ways (`benchmarks.gpu_torch`).
    """
    ms = {(row["way"], row["rows"]): row["ms"] for row in table} | {
        (way, 0): value for way, value in torch_ms.items()
    }
    one, many = ROWS[0], ROWS[-1]
    pairs = [
        (
            "time that CUDA graphs save, 1 row",
            (f"{CUDA}, captured", one),
            (CUDA, one),
            _GAIN,
        ),
        (f"CUDA over the processor, {many} rows", (CUDA, many), (CPU, many), 1.0),
        (f"TensorRT over CUDA, {many} rows", (TENSORRT, many), (CUDA, many), 1.0),
        (
            f"INT8 on CUDA over INT8 on the processor, {many} rows",
            (f"{CUDA}, serving graph", many),
            (f"{CPU}, serving graph", many),
            1.0,
        ),
        (
            "training an encoder on a card over a CPU",
            (TRAINED_ON_CARD, 0),
            (TRAINED, 0),
            1.0,
        ),
        ("generating on a card over a CPU", (SAID_ON_CARD, 0), (SAID, 0), 1.0),
    ]
    return [_target(name, ms.get(new), ms.get(old), least) for name, new, old, least in pairs]


def _target(name: str, new: float | None, old: float | None, least: float) -> Target:
    """How many times as fast the new way is, or for a share what it saves."""
    if new is None or old is None:
        return Target(name, None, least, least=True, why=_NOT_RUN)
    return Target(name, 1 - new / old if least < 1 else old / new, least, least=True)


if __name__ == "__main__":
    main()
