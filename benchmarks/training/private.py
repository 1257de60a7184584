"""Differential privacy: accuracy, and what an attacker learns of who was in the training rows."""

import warnings
from functools import cache

import torch
from opacus.accountants.utils import get_noise_multiplier

from benchmarks import charts
from benchmarks.intervals import Interval
from benchmarks.report import RESULTS, Row, Target
from benchmarks.training.rows import LearningTask
from training.models.students import accuracy, make
from training.recipe.recipe import PERCEPTRON, StudentSection
from training.recipe.sections import PRIVATE, TRAIN, RecipeStep
from training.steps.descent import descend
from training.steps.distillation import LabelLoss
from training.steps.privacy import descend_privately, membership_advantage

BUDGETS = (1.0, 2.0, 8.0)
_STUDENT = StudentSection(PERCEPTRON, width=256, layers=2)
_OPEN = RecipeStep(TRAIN, epochs=30, learning_rate=2e-3, weight_decay=0.0)
_EPOCHS, _BATCH, _DELTA = 8, 200, 1e-4


def compare(task: LearningTask, seeds: int) -> list[Row]:
    """A row for training without privacy (`epsilon` null), and one for each budget."""
    rows = [_row(task, None, [_learn(task, None, seed) for seed in range(1, seeds + 1)])]
    for budget in BUDGETS:
        rows.append(
            _row(task, budget, [_learn(task, budget, seed) for seed in range(1, seeds + 1)])
        )
    return rows


def _row(task: LearningTask, budget: float | None, told: list[tuple[float, float, float]]) -> Row:
    right, advantage, spent = zip(*told, strict=True)
    return {
        "part": "privacy",
        "data": task.name,
        "rows": len(task.corpus),
        "budget": budget,
        "delta": _DELTA,
        "spent": max(spent) if budget else None,
        "accuracy": Interval.of(right).shown(),
        "advantage": Interval.of(advantage).shown(),
    }


def _learn(task: LearningTask, budget: float | None, seed: int) -> tuple[float, float, float]:
    """Accuracy on the test rows, the attacker's advantage, and the epsilon spent."""
    torch.manual_seed(seed)
    net = make(_STUDENT, task.material.read)
    spent = 0.0
    if budget is None:
        descend(net, LabelLoss(), task.corpus, _OPEN, seed)
    else:
        step = RecipeStep(
            PRIVATE,
            epochs=_EPOCHS,
            batch=_BATCH,
            learning_rate=2e-3,
            noise=_noise(budget, _BATCH / len(task.corpus)),
            epsilon=budget,
            delta=_DELTA,
        )
        spent = descend_privately(net, task.corpus, step).epsilon
    members = task.corpus.rows.x, task.corpus.rows.y
    return (
        accuracy(net, task.x_test, task.y_test),
        membership_advantage(net, members, (task.x_test, task.y_test)),
        spent,
    )


@cache
def _noise(budget: float, rate: float) -> float:
    """The noise with which all epochs are within the budget, by Opacus's accountant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            get_noise_multiplier(
                target_epsilon=budget,
                target_delta=_DELTA,
                sample_rate=rate,
                epochs=_EPOCHS,
                accountant="rdp",
            )
        )


def targets(rows: list[Row]) -> list[Target]:
    return [
        Target(f"privacy: epsilon spent of {row['budget']:g}", row["spent"], row["budget"])
        for row in rows
        if row["budget"]
    ]


def draw(rows: list[Row]) -> None:
    """Accuracy and the attacker's advantage against epsilon, beside those without privacy."""
    titles = {"accuracy": "accuracy, %", "advantage": "membership-inference advantage, points"}
    private = [row for row in rows if row["budget"] is not None]
    (plain,) = (row for row in rows if row["budget"] is None)
    x = [row["budget"] for row in private]
    with charts.figure(RESULTS / "privacy.svg", 2, 9, 3.6) as axes:
        for axis, (key, title) in zip(axes, titles.items(), strict=True):
            charts.line(axis, x, [row[key]["mean"] for row in private], charts.BLUE, "DP-SGD")
            low, high = ([r[key]["mean"] + way * r[key]["off"] for r in private] for way in (-1, 1))
            axis.fill_between(x, low, high, color=charts.BLUE, alpha=0.15, lw=0)
            without = [plain[key]["mean"]] * len(x)
            charts.line(axis, x, without, charts.GRAY, "without privacy", "--")
            charts.name(axis, title, f"epsilon, at delta {_DELTA:g}")
            axis.set_xscale("log", base=2)
            axis.set_xticks(x, [f"{budget:g}" for budget in x])
