"""Quantization in training beside quantization after it, served by ONNX Runtime on one core.

For each seed a network is trained in fp32 on Fashion-MNIST. From its weights, ranges are recorded
on training rows (after), or training goes on with every step rounded (in training), at 8 and at 4
bits to a weight.
"""

import copy
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.intervals import Interval, paired
from benchmarks.report import Row, Target
from benchmarks.training.rows import LearningTask
from training.export.classifier import export_serving
from training.models.students import make
from training.recipe.recipe import PERCEPTRON, StudentSection
from training.recipe.sections import QUANTIZE, TRAIN, RecipeStep
from training.steps.descent import descend
from training.steps.distillation import LabelLoss
from training.steps.quantization import prepare, to_onnx

BITS = (8, 4)
_STUDENT = StudentSection(PERCEPTRON, width=512, layers=3)
_LEARN = RecipeStep(TRAIN, epochs=6, learning_rate=1e-3)
_RECORDED, _ROWS, _ROUNDS = 640, 64, 60
_FP32 = "fp32"


def compare(task: LearningTask, seeds: int) -> list[dict[str, Any]]:
    """A row for each graph: accuracy, what it loses to fp32, bytes, and how much faster it is."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for seed in range(1, seeds + 1):
        graphs = _graphs(task, seed)
        speeds = _milliseconds(graphs, task)
        for name, graph in graphs.items():
            right = _accuracy(graph, task)
            found.setdefault(name, []).append((right, speeds[name], len(graph)))
    exact = found[_FP32]
    return [
        {
            "part": "quantization",
            "data": task.name,
            "arm": name,
            "accuracy": Interval.of([right for right, _, _ in told]).shown(),
            "loss": paired(
                [right for right, _, _ in exact], [right for right, _, _ in told]
            ).shown(),
            "ms_of_64_rows": Interval.of([speed for _, speed, _ in told]).shown(1),
            "times_faster": Interval.of(
                [base[1] / each[1] for base, each in zip(exact, told, strict=True)]
            ).shown(1),
            "bytes": told[0][2],
        }
        for name, told in found.items()
    ]


def _graphs(task: LearningTask, seed: int) -> Mapping[str, bytes]:
    torch.manual_seed(seed)
    rows = task.corpus.rows.x
    net = make(_STUDENT, task.material.read)
    descend(net, LabelLoss(), task.corpus, _LEARN, seed)
    graphs = {_FP32: export_serving(copy.deepcopy(net).eval(), tuple(rows.shape[1:]))}
    for bits in BITS:
        after = prepare(net, rows, bits, trained=False)
        with torch.no_grad():
            after.train().answers(rows[:_RECORDED])
        graphs[f"after, {bits} bits"] = to_onnx(after, net, rows)
        during = prepare(net, rows, bits)
        step = RecipeStep(QUANTIZE, epochs=2, learning_rate=2e-4, bits=bits)
        descend(during, LabelLoss(), task.corpus, step, seed + 1)
        graphs[f"in training, {bits} bits"] = to_onnx(during, net, rows)
    return graphs


def opened(graph: bytes) -> onnxruntime.InferenceSession:
    """On one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _accuracy(graph: bytes, task: LearningTask) -> float:
    session = opened(graph)
    parts = [session.run(None, {"x": part.numpy()})[0] for part in task.x_test.split(500)]
    return float((np.concatenate(parts).argmax(1) == task.y_test.numpy()).mean())


def _milliseconds(graphs: Mapping[str, bytes], task: LearningTask) -> dict[str, float]:
    """CPU time of 64 rows, the least of rounds in which each graph has its turn."""
    sessions = {name: opened(graph) for name, graph in graphs.items()}
    x = task.x_test[:_ROWS].numpy()
    least = dict.fromkeys(graphs, float("inf"))
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            began = time.process_time()
            session.run(None, {"x": x})
            least[name] = min(least[name], 1000 * (time.process_time() - began))
    return least


def targets(rows: list[Row]) -> list[Target]:
    """Faster than fp32, as accurate, and no worse than rounding after training."""
    arms = {row["arm"]: row for row in rows}
    ours = arms["in training, 8 bits"]
    faster = ours["times_faster"]["mean"]
    return [
        Target("INT8 trained with rounding: times faster than fp32", faster, 2.3, least=True),
        Target("INT8 trained with rounding: points lost", ours["loss"]["mean"], 0.3),
        *(
            Target(
                f"{bits} bits trained with rounding: points lost, below those of rounding after",
                arms[f"in training, {bits} bits"]["loss"]["mean"],
                arms[f"after, {bits} bits"]["loss"]["mean"],
            )
            for bits in BITS
        ),
    ]
