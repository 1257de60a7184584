"""One process beside two that share the training: each step's loss, and the weights at the end.

Two processes add in another order than one, so what they reach is not equal to the bit. A row in
double precision tells what of a difference is that order alone.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.training.learning import boosted, head_on_vectors
from benchmarks.training.rows import Task, digits, spam
from training.models.students import make
from training.recipe.recipe import ENCODER, PERCEPTRON, StudentSection
from training.recipe.sections import DISTIL, SPLITS, TENSOR, DevicesSection, RecipeStep
from training.steps.descent import CheckpointPlan, StepProgress, TaughtRows, descend
from training.steps.distillation import Distillation, TrainingBatch
from training.steps.ranks import DistributedEngine

_PROCESSES = 2
_NEVER, _WATCHED = 10**9, 8
_SINGLE, _DOUBLE = torch.float32, torch.float64


@dataclass(frozen=True, slots=True)
class Shared:
    """A student, what it learns, and by which step."""

    task: Task
    corpus: TaughtRows
    student: StudentSection
    step: RecipeStep
    precision: torch.dtype = _SINGLE


def compare(seeds: int) -> list[dict[str, Any]]:
    """A row for each student and split: the largest difference of a step's loss over the seeds."""
    return [
        {"part": "devices", "data": shared.task.name, "student": shared.student.kind}
        | _beside_one(shared, split, seeds)
        for shared in _all()
        for split in (SPLITS if shared.precision is _SINGLE else (TENSOR,))
    ]


def _all() -> Iterator[Shared]:
    task = digits()
    every = torch.arange(len(task.corpus))
    told = boosted(task, every, 1)
    step = RecipeStep(DISTIL, epochs=8, learning_rate=4e-3)
    mine = Shared(task, _taught(task, told), StudentSection(PERCEPTRON, width=128, layers=3), step)
    yield mine
    yield replace(mine, precision=_DOUBLE)
    task = spam()
    told = head_on_vectors(task, torch.arange(len(task.corpus)), 1)
    reader = StudentSection(ENCODER, width=64, layers=2, heads=4)
    yield Shared(
        task, _taught(task, told), reader, RecipeStep(DISTIL, epochs=3, learning_rate=2e-3)
    )


def _taught(task: Task, logits: torch.Tensor) -> TaughtRows:
    rows = task.corpus.rows
    return TaughtRows(TrainingBatch(rows.x, rows.y, logits))


class _Heard:
    """The loss of each step."""

    def __init__(self, shared: Shared) -> None:
        x, y = shared.task.x_test[:_WATCHED], shared.task.y_test[:_WATCHED]
        self.rows = _exact(x, shared.precision), y
        self.losses: list[float] = []

    def note(self, progress: StepProgress, right: float | None) -> None:
        self.losses.append(progress.loss)

    def __call__(self, progress: StepProgress) -> None:
        self.note(progress, None)


def _beside_one(shared: Shared, split: str, seeds: int) -> dict[str, Any]:
    apart, moved, seconds = [], [], {1: 0.0, _PROCESSES: 0.0}
    steps = 0
    for seed in range(1, seeds + 1):
        torch.manual_seed(seed)
        student = make(shared.student, shared.task.material.read).to(shared.precision)
        runs = {}
        for processes in (1, _PROCESSES):
            began = time.monotonic()
            runs[processes] = _run(shared, split, processes, copy.deepcopy(student), seed)
            seconds[processes] += time.monotonic() - began
        (alone, mine), (together, theirs) = runs[1], runs[_PROCESSES]
        steps = len(alone)
        apart.append(max(abs(a - b) for a, b in zip(alone, together, strict=True)))
        moved.append(max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True)))
    return {
        "split": split,
        "precision": str(shared.precision).removeprefix("torch."),
        "processes": _PROCESSES,
        "seeds": seeds,
        "steps": steps,
        "loss_apart": max(apart),
        "weights_apart": max(moved),
        "seconds_alone": round(seconds[1], 2),
        "seconds_together": round(seconds[_PROCESSES], 2),
    }


def _run(
    shared: Shared, split: str, processes: int, student: torch.nn.Module, seed: int
) -> tuple[list[float], list[torch.Tensor]]:
    heard, objective = _Heard(shared), Distillation(shared.step)
    with TemporaryDirectory() as folder:
        keeping = CheckpointPlan(Path(folder) / "kept", _NEVER)
        given = student, objective, _precise(shared), shared.step, seed, heard, keeping
        if processes == 1:
            descend(*given)
        else:
            DistributedEngine(DevicesSection(processes, split), heard)(*given)
    return heard.losses, [each.detach() for each in student.parameters()]


def _precise(shared: Shared) -> TaughtRows:
    rows = shared.corpus.rows
    x, logits = (_exact(each, shared.precision) for each in (rows.x, rows.logits))
    return TaughtRows(TrainingBatch(x, rows.y, logits))


def _exact(values: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """Numbers in this precision; tokens as they are."""
    return values.to(precision) if values.is_floating_point() else values
