"""Distillation beside hard labels, and adaptive beside fixed, each on few labels of real data.

For each seed, a class-balanced handful of labels is drawn, the teacher is fitted to those labels
and no others, and students of one size are trained from the same weights for the same number of
steps:

    hard      on the labels alone
    argmax    on the labels, and on what the teacher would answer wherever there is none
    soft      on the teacher's probabilities, at a fixed weight and temperature
    adaptive  the same, weight and temperature following the student (`training.steps.distillation`)

The best fixed setting is the one of a grid that does best on the slice `calibration`, on average
over the seeds; adaptive has no more settings than its start, and so costs one run, not a grid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.intervals import Interval, paired
from benchmarks.report import Row, Target, shown
from benchmarks.training.rows import LearningTask
from training.data import NO_LABEL, RunData
from training.data import TRAIN as TRAIN_SLICE
from training.models.students import accuracy, make
from training.recipe.recipe import BOOSTING, NEIGHBOURS, StudentSection, TeacherSection
from training.recipe.sections import DISTIL, TRAIN, RecipeStep
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import AdaptiveDistillation, Distillation, LabelLoss
from training.steps.teachers import fit_head, teach

Teach = Callable[[LearningTask, torch.Tensor, int], torch.Tensor]
GRID = ((1.0, 0.9), (2.0, 0.5), (2.0, 0.9), (4.0, 0.9))
_START = (4.0, 0.9)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A task with a teacher, a student and so many labels and steps.

    `grid` holds the fixed settings, temperature and weight, of which the best one is chosen, and
    `teach` gives the teacher's logits [n, C] on the training rows, from labels at some places.
    """

    task: LearningTask
    teacher: str
    teach: Teach
    student: StudentSection
    labels: int
    steps: int
    seeds: int = 3
    grid: tuple[tuple[float, float], ...] = GRID


def head_on_vectors(task: LearningTask, places: torch.Tensor, seed: int) -> torch.Tensor:
    """A linear head over the encoder's vectors, fitted to the labels at `places`."""
    rows = task.corpus.rows
    if rows.vectors is None:
        raise ValueError("the task's rows have no vectors")
    classes = len(task.material.read.names)
    weight, bias = fit_head(rows.vectors[places], rows.y[places], classes)
    return rows.vectors @ weight.T + bias


def boosted(task: LearningTask, places: torch.Tensor, seed: int) -> torch.Tensor:
    """Trees boosted on the labels at `places`."""
    return _taught(BOOSTING, task, places, seed)


def spread(task: LearningTask, places: torch.Tensor, seed: int) -> torch.Tensor:
    """The labels at `places`, spread to the rows that lie near."""
    return _taught(NEIGHBOURS, task, places, seed)


def _taught(kind: str, task: LearningTask, places: torch.Tensor, seed: int) -> torch.Tensor:
    x, y = task.material.slices[TRAIN_SLICE]
    few = np.full_like(y, NO_LABEL)
    few[places] = y[places]
    material = RunData(task.material.read, {TRAIN_SLICE: (x, few)})
    return teach(TeacherSection(kind), material, seed).logits


def compare(lesson: Lesson) -> list[dict[str, Any]]:
    """A row for each arm: accuracies on the test rows, and differences to `hard` and best fixed."""
    arms: dict[str, list[tuple[float, float]]] = {}
    for seed in range(1, lesson.seeds + 1):
        for arm, told in _seed(lesson, seed).items():
            arms.setdefault(arm, []).append(told)
    fixed = [arm for arm in arms if arm.startswith("soft")]
    best = max(fixed, key=lambda arm: sum(chosen for chosen, _ in arms[arm]))
    tested = {arm: [right for _, right in told] for arm, told in arms.items()}
    return [
        {
            "part": "distillation",
            "data": lesson.task.name,
            "teacher": lesson.teacher,
            "labels": lesson.labels,
            "unlabelled": len(lesson.task.corpus) - lesson.labels,
            "steps": lesson.steps,
            "arm": arm,
            "chosen": arm == best,
            "accuracy": Interval.of(right).shown(),
            "over_hard": paired(right, tested["hard"]).shown(),
            "over_argmax": paired(right, tested["argmax"]).shown(),
            "over_best_fixed": paired(right, tested[best]).shown(),
        }
        for arm, right in tested.items()
    ]


def _seed(lesson: Lesson, seed: int) -> Mapping[str, tuple[float, float]]:
    """By arm, the accuracy on the slice `calibration` and on the test rows."""
    task = lesson.task
    places = _few(task.corpus.rows.y, lesson.labels, seed)
    few = task.with_labels(places)
    logits = lesson.teach(task, places, seed)
    told = TaughtRows(replace(few.rows, logits=logits))
    y = torch.where(few.rows.y >= 0, few.rows.y, logits.argmax(1))
    guessed = TaughtRows(replace(few.rows, y=y))
    arms: dict[str, tuple[RecipeStep, TaughtRows]] = {
        "hard": (RecipeStep(TRAIN), few.labelled()),
        "argmax": (RecipeStep(TRAIN), guessed),
        "adaptive": (
            RecipeStep(DISTIL, temperature=_START[0], weight=_START[1], adaptive=True),
            told,
        ),
    }
    for temperature, weight in lesson.grid:
        step = RecipeStep(DISTIL, temperature=temperature, weight=weight)
        arms[f"soft T={temperature:g} w={weight:g}"] = (step, told)
    return {arm: _learn(lesson, *given, seed) for arm, given in arms.items()}


def _learn(lesson: Lesson, step: RecipeStep, corpus: TaughtRows, seed: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    task = lesson.task
    student = make(lesson.student, task.material.read)
    batch = min(64, len(corpus))
    each_epoch = -(-len(corpus) // batch)
    step = replace(step, batch=batch, epochs=max(lesson.steps // each_epoch, 1), learning_rate=2e-3)
    objective: torch.nn.Module = LabelLoss()
    if step.kind == DISTIL:
        objective = (AdaptiveDistillation if step.adaptive else Distillation)(step, None)
    descend(student, objective, corpus, step, seed)
    held = task.material.slices["calibration"]
    x, y = (torch.from_numpy(part) for part in held)
    return accuracy(student, x[:2000], y[:2000]), accuracy(student, task.x_test, task.y_test)


def _few(y: torch.Tensor, labels: int, seed: int) -> torch.Tensor:
    """Places of `labels` rows, as many of each class."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    classes = int(y.max()) + 1
    found = [order[y[order] == each][: labels // classes] for each in range(classes)]
    return torch.cat(found)


def targets(rows: list[Row]) -> list[Target]:
    """Of each data set: what soft targets gain over hard labels, and adaptive over fixed ones."""
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        arms = {row["arm"]: row for row in rows if row["data"] == data}
        (best,) = (row for row in arms.values() if row["chosen"])
        gain, adaptive = best["over_hard"], arms["adaptive"]["over_best_fixed"]
        percent = 100 * gain["mean"] / arms["hard"]["accuracy"]["mean"]
        guessed = shown(arms["argmax"]["over_hard"])
        goals = (
            ("points that soft targets gain over hard labels, low end", gain, _least(gain), 0.0),
            ("percent that soft targets gain over hard labels", gain, percent, 12.0),
            ("points that adaptive gains over fixed, low end", adaptive, _least(adaptive), 0.0),
        )
        for name, interval, value, least in goals:
            goal = Target(f"{data}: {name}", value, least, least=True)
            why = f"{shown(interval)} points; the teacher's answers as labels gain {guessed}"
            found.append(goal if goal.met else goal.because(why))
    return found


def _least(interval: Row) -> float:
    return float(interval["mean"] - interval["off"])
