"""`make bench NAME=rounding`: quantization-aware training beside rounding after as many epochs.

    python -m benchmarks.rounding [NETWORK… | report]

Each seed trains a network in float32 for some epochs, and then goes on from the same weights, in
the same order of rows and with the same learning rates, for as many epochs more in every arm:

    float32              without rounding
    B bits, after        the network of `float32`, rounded with ranges of training rows
    B bits, in training  with every step rounded (`training.steps.quantization`)

So both ways of rounding have had the same training. A weight has 8 or 4 bits, an activation 8. The
graphs are written to files; of those of 4 bits every large weight takes half a byte, embeddings,
which neither arm rounds before, too (`benchmarks.four_bits`). Accuracy, bytes and time are those of
the file in ONNX Runtime on one core. A seed that is in build/bench/rounding
is not measured again; `report` measures none. A network counts once all of its seeds are there;
until then the rows that are known of it stay in the report, with their commits.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from benchmarks.four_bits import store_in_four_bits
from benchmarks.intervals import Interval, paired
from benchmarks.report import Row, Target, commit, earlier, finish, show
from benchmarks.training import rows
from benchmarks.training.rows import KEPT, LearningTask
from inference.runtime.response_contract import IDS, MASK, X
from training.export.classifier import export_serving
from training.export.text import export_text_serving
from training.models.encoder import TextClassifier
from training.models.students import make
from training.recipe.recipe import CONVOLUTION, ENCODER, PERCEPTRON, StudentSection
from training.recipe.sections import QUANTIZE, TRAIN, RecipeStep
from training.steps.descent import descend
from training.steps.distillation import LabelLoss
from training.steps.quantization import prepare, to_onnx

FLOAT32 = "float32"
BITS = (8, 4)
_RECORDED, _TIMED, _AT_ONCE = 640, 64, 200
FOLDER = KEPT / "rounding"
Measured = dict[str, dict[str, float]]
"""By arm: accuracy (a share), milliseconds of 64 rows, bytes of the file and of its float32."""


@dataclass(frozen=True, slots=True)
class RoundedNetwork:
    """A network with its data: `first` is how it is trained before the arms part, `more` how each
    arm goes on.
    """

    name: str
    task: Callable[[], LearningTask]
    student: Callable[[], StudentSection]
    first: RecipeStep
    more: RecipeStep
    seeds: int
    rounds: int = 60


def after(bits: int) -> str:
    """The arm that is rounded after training."""
    return f"{bits} bits, after"


def during(bits: int) -> str:
    """The arm that is trained with rounding."""
    return f"{bits} bits, in training"


def _step(epochs: int, rate: float, batch: int = 64) -> RecipeStep:
    return RecipeStep(TRAIN, epochs=epochs, batch=batch, learning_rate=rate)


NETWORKS = (
    RoundedNetwork(
        "MLP",
        lambda: rows.fashion(6000),
        lambda: StudentSection(PERCEPTRON, width=512, layers=3),
        *(_step(4, 1e-3), _step(3, 2e-4), 5),
    ),
    RoundedNetwork(
        "CNN",
        lambda: rows.fashion(6000),
        lambda: StudentSection(CONVOLUTION, width=32, layers=2),
        *(_step(4, 2e-3), _step(3, 4e-4), 5),
    ),
    RoundedNetwork(
        "MiniLM",
        lambda: rows.mails(256, 32),
        lambda: StudentSection(ENCODER, path=rows.minilm()),
        *(_step(2, 1e-4, 32), _step(1, 5e-5, 32), 5, 8),
    ),
)


# By profiles of both files of a network.
_SLOW = {
    "CNN": "ONNX Runtime's convolution takes 1.8 times as long in INT8 as in float32, where it"
    " works on blocks of channels",
    "MiniLM": "products take a sixth of their time in float32, but what is not rounded (norms,"
    " GELU, attention) and rounding itself are 72% of what is left",
}


def main() -> None:
    torch.set_num_threads(1)
    named = sys.argv[1:]
    found, targets, before = [], [], earlier("rounding")
    for network in NETWORKS:
        if not named or network.name in named:
            _measure(network)
        seeds = [path for path in _places(network) if path.exists()]
        if len(seeds) == network.seeds:
            told = [json.loads(path.read_text()) for path in seeds]
            mine = summary(network, [each["arms"] for each in told])
            commits = sorted({each["commit"] for each in told})
            mine = [row | {"commits": commits} for row in mine]
        else:
            mine = [row for row in before if row["network"] == network.name]
        found += mine
        targets += judge(mine) if mine else not_run(network, len(seeds))
    if found:
        columns = ("network", "arm", "accuracy", "loss", "over_after", "times_faster", "file_bytes")
        show(found, columns)
    finish("rounding", found, targets)


def _places(network: RoundedNetwork) -> list[Path]:
    """A file for each seed."""
    return [FOLDER / f"{network.name}-{seed}.json" for seed in range(1, network.seeds + 1)]


def _measure(network: RoundedNetwork) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    task = network.task()
    for seed, path in enumerate(_places(network), 1):
        if not path.exists():
            began = time.perf_counter()
            arms = measured(graphs(network, task, seed), task, network.rounds)
            path.write_text(json.dumps({"commit": commit(), "arms": arms}))
            print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)


def graphs(network: RoundedNetwork, task: LearningTask, seed: int) -> dict[str, bytes]:
    """The graph of each arm."""
    torch.manual_seed(seed)
    given = task.corpus.rows.x
    start = make(network.student(), task.material.read)
    descend(start, LabelLoss(), task.corpus, network.first, seed)
    plain = copy.deepcopy(start)
    descend(plain, LabelLoss(), task.corpus, network.more, seed + 1)
    found = {FLOAT32: _exported(copy.deepcopy(plain).eval(), given)}
    for bits in BITS:
        rounded = prepare(plain, given, bits, trained=False)
        with torch.no_grad():
            for part in given[:_RECORDED].split(_TIMED):
                rounded.train().answers(part)
        found[after(bits)] = to_onnx(rounded, plain, given)
        rounded = prepare(start, given, bits)
        more = replace(network.more, kind=QUANTIZE, bits=bits)
        descend(rounded, LabelLoss(), task.corpus, more, seed + 1)
        found[during(bits)] = to_onnx(rounded, start, given)
        if bits == 4:
            for arm in (after(bits), during(bits)):
                found[arm] = store_in_four_bits(found[arm])
    return found


def _exported(net: torch.nn.Module, given: torch.Tensor) -> bytes:
    if isinstance(net, TextClassifier):
        return export_text_serving(net)
    return export_serving(net, tuple(given.shape[1:]))


def measured(made: Mapping[str, bytes], task: LearningTask, rounds: int) -> Measured:
    """The figures of the graphs' files; times are the least of rounds in which each has its turn,
    in milliseconds of CPU.
    """
    sessions, found = {}, {}
    for arm, graph in made.items():
        path = FOLDER / "arm.onnx"
        path.write_bytes(graph)
        sessions[arm] = _opened(path)
        found[arm] = {
            "accuracy": _accuracy(sessions[arm], task),
            "ms": float("inf"),
            "file_bytes": path.stat().st_size,
            "float32_bytes": _float32_bytes(graph),
        }
        path.unlink()
    x = feeds(task.x_test[:_TIMED])
    for _ in range(rounds):
        for arm, session in sessions.items():
            began = time.process_time()
            session.run(None, x)
            found[arm]["ms"] = min(found[arm]["ms"], 1000 * (time.process_time() - began))
    return found


def _opened(path: Path) -> onnxruntime.InferenceSession:
    """On one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(x: torch.Tensor) -> dict[str, Any]:
    """A serving graph's inputs from rows: images, or tokens with -1 behind them."""
    if x.dtype != torch.int64:
        return {X: x.numpy()}
    return {IDS: x.clamp(min=0).numpy(), MASK: (x >= 0).to(torch.int64).numpy()}


def _accuracy(session: onnxruntime.InferenceSession, task: LearningTask) -> float:
    parts = [session.run(None, feeds(part))[0] for part in task.x_test.split(_AT_ONCE)]
    return float((np.concatenate(parts).argmax(1) == task.y_test.numpy()).mean())


def _float32_bytes(graph: bytes) -> int:
    """Of the weights that are not rounded, and of scales."""
    held = onnx.load_from_string(graph).graph.initializer
    kept = [each for each in held if each.data_type == onnx.TensorProto.FLOAT]
    return sum(4 * math.prod(each.dims) for each in kept)


def summary(network: RoundedNetwork, seeds: list[Measured]) -> list[Row]:
    """A row for each arm, over the seeds; accuracies in points of a hundred."""
    right = {arm: [seed[arm]["accuracy"] for seed in seeds] for arm in seeds[0]}
    found = []
    for arm in right:
        row: Row = {
            "network": network.name,
            "arm": arm,
            "epochs": network.first.epochs + network.more.epochs,
            "accuracy": Interval.of(right[arm]).shown(),
            "loss": paired(right[FLOAT32], right[arm]).shown(),
            "ms_of_64_rows": Interval.of([seed[arm]["ms"] for seed in seeds]).shown(1),
            "times_faster": Interval.of(
                [seed[FLOAT32]["ms"] / seed[arm]["ms"] for seed in seeds]
            ).shown(1),
            "file_bytes": int(max(seed[arm]["file_bytes"] for seed in seeds)),
            "float32_bytes_in_it": int(seeds[0][arm]["float32_bytes"]),
            "share_of_float32": seeds[0][arm]["file_bytes"] / seeds[0][FLOAT32]["file_bytes"],
        }
        if arm.endswith("in training"):
            other = arm.replace("in training", "after")
            row["over_after"] = paired(right[arm], right[other]).shown()
        found.append(row)
    return found


def not_run(network: RoundedNetwork, seeds: int) -> list[Target]:
    """The gains of a network of which only so many seeds are there."""
    why = f"{seeds} of {network.seeds} seeds are there"
    return [Target(_gain(network.name, bits), None, 0.0, least=True, why=why) for bits in BITS]


def _gain(name: str, bits: int) -> str:
    return f"{name}, {bits} bits: points gained over rounding after as many epochs, low end"


def judge(network: list[Row]) -> list[Target]:
    """Of one network: what 8 bits cost and save, what training with rounding gains over rounding
    after as many epochs, and how small 4 bits are.
    """
    arms = {row["arm"]: row for row in network}
    name, eight, four = network[0]["network"], arms[during(8)], arms[during(4)]
    lost, faster = eight["loss"]["mean"], eight["times_faster"]["mean"]
    goal = f"{name}, 8 bits in training: times faster"
    found = [
        Target(f"{name}, 8 bits in training: points lost to float32", lost, 0.8),
        Target(goal, faster, 2.3, least=True).unless_met({goal: _SLOW.get(name, "")}),
    ]
    for bits in BITS:
        gain = arms[during(bits)]["over_after"]
        goal = _gain(name, bits)
        found.append(
            Target(goal, gain["mean"] - gain["off"], 0.0, least=True).unless_met(
                {goal: f"{gain['mean']:.2f} ± {gain['off']:.2f} points: not to be told from none"}
            )
        )
    goal = f"{name}, 4 bits: bytes of the file, over those of float32"
    kept = four["float32_bytes_in_it"]
    why = f"{kept:,} bytes are float32, {four['file_bytes'] - kept:,} 4 bits and the graph"
    return [*found, Target(goal, four["share_of_float32"], 0.15).unless_met({goal: why})]


if __name__ == "__main__":
    main()
