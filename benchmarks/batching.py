"""`make bench NAME=batching`: adaptive batches beside a fixed delay and none, on the same arrivals.

The model is a wide perceptron on digits, trained here and made ready as publishing does: at batch 1
its time goes into reading weights, which is where batches pay on a processor (on the demo's small
models Python is the limit, and an INT8 MiniLM costs nearly as much a row in a batch as alone). The
engine's own `ReadyVersion` screens and answers, on one core; the callers' threads have the other.

All are the same files: with the bounds of their own; with an operator's `delay_us = 1`, so that a
batch is what gathered while the last one ran; with an operator's `max_rows = 1`; and with a batcher
that waits the whole delay unless the batch is full, as servers with a fixed delay do. Policies take
turns within each round, since machines drift; a request's time runs from the moment it was due, so
that a generator that falls behind hides nothing.
"""

import argparse
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.arrivals import arrivals
from benchmarks.batching_plot import draw
from benchmarks.report import RESULTS, Target, write_report
from demo.materials import DATA, test_rows
from inference.batching.batcher import Batcher
from inference.batching.limits import BatcherLimits, Batching, BatchingBounds, OperatorBounds
from inference.engine import ready_version
from inference.engine.ready_version import ReadyVersion
from inference.engine.result import InferenceResult
from inference.runtime.cpu import CpuSettings
from publishing.sandbox import trial
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from training.demo import datasets
from training.demo.mlp import MlpRecipe
from training.demo.models import DemoModel, write_model

Array = npt.NDArray[Any]

LOADS = (0.3, 0.5, 0.7, 0.9)
_THREADS = 192
_BATCHING = Batching(max_rows=64, delay_us=5000, queue_rows=4096)
_GOAL = 0.32
WIDE = DemoModel(
    "digits-wide",
    MlpRecipe(seed=1, hidden=(1536, 1536), epochs=8, batch=128, learning_rate=1e-3, smoothing=0.05),
    "A wide network that reads handwritten digits of 8 by 8 pixels.",
)


class FixedDelay(Batcher[Array, InferenceResult]):
    """Waits the whole delay before each batch, unless it is full."""

    def _patience(self, rows: int) -> tuple[int, float]:
        return self._limits.max_rows - rows, self._limits.delay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each cell is measured")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        files = wide_files(Path(folder))
    policies = {
        "adaptive": _version(files),
        "fixed delay": _with_fixed_delay(files),
        "no delay": _version(files, BatchingBounds(delay_us=1)),
        "none": _version(files, BatchingBounds(max_rows=1)),
    }
    rows = test_rows("digits")
    cells: list[dict[str, Any]] = []
    for number in range(arguments.rounds):
        for load in LOADS:
            capacity = _capacity(policies["none"], rows)
            due = arrivals(
                load * capacity, arguments.seconds, seed=100 * number + round(100 * load)
            )
            for name, policy in _turned(policies, number):
                cell = {"round": number, "load": load, "policy": name, "capacity": capacity}
                cells.append(cell | _offered(policy, rows, due))
    table = summary(cells)
    show(table)
    write_report("batching", table, targets(table), batch_ms=_costs(policies["adaptive"], rows))
    draw(table, RESULTS / "batching.svg")


def wide_files(folder: Path) -> dict[str, bytes]:
    """The files of the wide model: trained, and made as publishing makes them, without a mark."""
    torch.set_num_threads(1)
    # It warns of packages that it does without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    write_model(WIDE, datasets.digits(), folder)
    source = SourceFolder.read(folder / WIDE.folder)
    data = Dataset.read(DATA / "digits.safetensors")
    config = replace(source.config, batching=_BATCHING)
    serving, response = source.serving, source.response
    slices = data.fit, data.calibration, data.test
    request = trial.TrialRequest(config, serving, serving, response, *slices, seed=1)
    made: list[bytes] = []
    trial.run(request.encode(), made.append)
    names = (ready_version.INT8, ready_version.GOLDEN, ready_version.DETECTOR)
    return {
        ready_version.MODEL: config.encode(),
        ready_version.FP32: serving,
        ready_version.RESPONSE: response,
        **dict(zip(names, made, strict=False)),
    }


def summary(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each load and policy: medians over the rounds, and how the mean compares with
    that of no batching in the same round.
    """
    rows = []
    for load, policy in dict.fromkeys((cell["load"], cell["policy"]) for cell in cells):
        mine = [c for c in cells if (c["load"], c["policy"]) == (load, policy)]
        plain = [c for c in cells if (c["load"], c["policy"]) == (load, "none")]
        lower = [1 - m["mean_ms"] / p["mean_ms"] for m, p in zip(mine, plain, strict=True)]
        figures = ("mean_ms", "p50_ms", "p99_ms", "rows_per_batch", "offered", "capacity")
        row: dict[str, Any] = {n: float(np.median([cell[n] for cell in mine])) for n in figures}
        row |= {
            "answered": sum(c["answered"] for c in mine),
            "asked": sum(c["asked"] for c in mine),
        }
        row |= {"mean_lower_by": float(np.median(lower)), "lower_in_rounds": lower}
        rows.append({"load": load, "policy": policy, **row})
    return rows


def targets(table: list[dict[str, Any]]) -> list[Target]:
    found = {(row["load"], row["policy"]): row for row in table}
    lower = found[0.7, "adaptive"]["mean_lower_by"]
    goals = [
        Target("mean latency at 70% below that of batch 1, share", lower, _GOAL, least=True),
        Target(
            "requests that got no answer, of all policies",
            float(sum(row["asked"] - row["answered"] for row in table)),
            0.0,
        ),
    ]
    for load in LOADS:
        adaptive, fixed = found[load, "adaptive"]["mean_ms"], found[load, "fixed delay"]["mean_ms"]
        name = f"mean latency at {load:.0%}, adaptive over fixed delay"
        goals.append(Target(name, adaptive / fixed, 1.0))
    return goals


def show(table: list[dict[str, Any]]) -> None:
    shown = Table(title="a wide perceptron, one row a request, one core", title_justify="left")
    figures = ("mean_ms", "p50_ms", "p99_ms", "rows_per_batch")
    for name in ("load", "policy", *figures, "mean lower by"):
        shown.add_column(name, justify="left" if name == "policy" else "right")
    for row in table:
        cells = [f"{row[name]:.2f}" for name in figures]
        shown.add_row(f"{row['load']:.0%}", row["policy"], *cells, f"{row['mean_lower_by']:.0%}")
    Console(highlight=False).print(shown)


def _version(files: dict[str, bytes], *sections: BatchingBounds) -> ReadyVersion:
    return ReadyVersion.build("", files, CpuSettings(1), bounds=OperatorBounds(sections))


def _turned(policies: dict[str, ReadyVersion], number: int) -> list[tuple[str, ReadyVersion]]:
    """The policies, beginning with another in each round."""
    items = list(policies.items())
    return items[number % len(items) :] + items[: number % len(items)]


def _with_fixed_delay(files: dict[str, bytes]) -> ReadyVersion:
    ready = _version(files)
    ready.batcher = FixedDelay(ready._answer_measured, BatcherLimits.of(_BATCHING, lanes=1))
    return ready


def _capacity(ready: ReadyVersion, rows: Array, seconds: float = 0.7) -> float:
    """Answers a second, one row a batch, with always one more request waiting."""
    before = ready.counts().requests
    end = time.monotonic() + seconds

    def ask() -> None:
        place = 0
        while time.monotonic() < end:
            ready.submit(rows[place % len(rows)][None])
            place += 1

    _in_threads(2, ask)
    return (ready.counts().requests - before) / seconds


def _offered(ready: ReadyVersion, rows: Array, due: Array) -> dict[str, Any]:
    """What became of requests that were due at these moments."""
    before = ready.counts()
    begin = time.monotonic() + 0.05
    turns = iter(enumerate(due.tolist()))
    times = np.full(len(due), np.nan)
    mutex = threading.Lock()

    def turn() -> Iterator[tuple[int, float]]:
        while True:
            with mutex:
                place = next(turns, None)
            if place is None:
                return
            yield place

    def ask() -> None:
        for place, moment in turn():
            left = begin + moment - time.monotonic()
            if left > 0:
                time.sleep(left)
            ready.submit(rows[place % len(rows)][None])
            times[place] = time.monotonic() - begin - moment

    _in_threads(_THREADS, ask)
    after = ready.counts()
    answered = times[np.isfinite(times)] * 1000
    return {
        "asked": len(due),
        "answered": len(answered),
        "offered": len(due) / float(due[-1]),
        "mean_ms": float(answered.mean()),
        "p50_ms": float(np.percentile(answered, 50)),
        "p99_ms": float(np.percentile(answered, 99)),
        "rows_per_batch": (after.rows - before.rows) / max(1, after.batches - before.batches),
    }


def _costs(ready: ReadyVersion, rows: Array) -> dict[str, float]:
    """Milliseconds of a batch by its rows, nobody else being there."""
    costs = {}
    for size in (1, 2, 4, 8, 16, 32, 64):
        times = []
        for _ in range(20):
            began = time.perf_counter()
            ready.submit(rows[:size])
            times.append(time.perf_counter() - began)
        costs[str(size)] = float(np.median(times) * 1000)
    return costs


def _in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
