"""A student that was looked for beside the one that recipes have by default, on one budget: what
the default's serving graph and tokenizer weigh. Each seed searches anew, or trains what the first
one found where that takes too long; both students are trained in full.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.training.intervals import Interval, paired
from benchmarks.training.learning import Teach
from benchmarks.training.rows import Task
from training.data.run_data import TRAIN
from training.models.students import accuracy, make
from training.recipe.recipe import (
    CHECKPOINT,
    DIGITS,
    SPAM,
    ModelSection,
    Recipe,
    RunSection,
    SliceSizes,
    StudentSection,
    TeacherSection,
)
from training.recipe.sections import RecipeStep, SearchSection
from training.steps.descent import TaughtRows
from training.steps.search import SearchResult, StudentSearch, serving
from training.steps.steps import follow


@dataclass(frozen=True, slots=True)
class Hunt:
    """A task with a teacher, the student that is to be beaten, and where a better one is looked
    for: `search` takes the budget, `megabytes`; whether it is looked for `once`, or by each seed.
    """

    task: Task
    teacher: str
    teach: Teach
    student: StudentSection
    step: RecipeStep
    search: Callable[..., SearchSection]
    once: bool = False


def compare(hunt: Hunt, seeds: int, tell: Callable[..., None] = print) -> list[dict[str, Any]]:
    """A row for the default and one for what was found; accuracies on the test rows."""
    task = hunt.task
    rows = task.corpus.rows
    logits = hunt.teach(task, torch.arange(len(rows.y)), 1)
    corpus = TaughtRows(replace(rows, logits=logits))
    budget = _weighs(_made(hunt, hunt.student, 1), task)
    rights: dict[str, list[float]] = {"default": [], "found": []}
    founds: list[SearchResult] = []
    for seed in range(1, seeds + 1):
        asked = _recipe(hunt, budget, seed)
        if not founds or not hunt.once:
            with tempfile.TemporaryDirectory() as folder:
                record = Path(folder) / "search.jsonl"
                founds.append(StudentSearch(asked, task.material, corpus, record, tell).find())
        found = founds[-1]
        for arm, student in (("default", hunt.student), ("found", found.recipe(asked).student)):
            net = _made(hunt, student, seed)
            follow(hunt.step, net, corpus, seed + 1, lambda _: lambda _: None, None)
            rights[arm].append(accuracy(net, task.x_test, task.y_test))
    return [
        {
            "part": "search",
            "data": task.name,
            "teacher": hunt.teacher,
            "arm": arm,
            "budget_megabytes": round(budget, 4),
            "trials": hunt.search(megabytes=budget).trials,
            "trained": [sum(t.accuracy is not None for t in f.trials) for f in founds],
            "students": [dict(f.best.settings) for f in founds] if arm == "found" else [],
            "megabytes": [round(f.best.megabytes, 4) for f in founds] if arm == "found" else [],
            "accuracy": Interval.of(right).shown(),
            "over_default": paired(right, rights["default"]).shown(),
        }
        for arm, right in rights.items()
    ]


def _made(hunt: Hunt, student: StudentSection, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    material = hunt.task.material
    return make(student, material.read, material.slices[TRAIN][0])


def _weighs(net: nn.Module, task: Task) -> float:
    return (len(serving(net, task.material)) + len(task.material.read.tokenizer or b"")) / 1e6


def _recipe(hunt: Hunt, budget: float, seed: int) -> Recipe:
    """Its data and teacher are not read: what they come to is at hand."""
    source = DIGITS if hunt.task.material.read.tokens is None else SPAM
    return Recipe(
        ModelSection(hunt.task.name, "", ""),
        RunSection(seed),
        SliceSizes(source, train=1, fit=1, calibration=1, path=Path()),
        TeacherSection(CHECKPOINT, Path()),
        hunt.student,
        (hunt.step,),
        hunt.search(megabytes=budget),
    )
