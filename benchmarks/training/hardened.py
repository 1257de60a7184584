"""What no change within a bound turns: plain, hardened and certified networks beside each other."""

from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.intervals import Interval
from benchmarks.report import Row, Target
from benchmarks.screening.toolbox import auto_attack
from benchmarks.training.rows import LearningTask
from training.models.students import accuracy, make
from training.recipe.recipe import PERCEPTRON, StudentSection
from training.recipe.sections import CERTIFY, HARDEN, TRAIN, RecipeStep
from training.steps.certification import certified
from training.steps.runner import follow

PART = "hardening"
SIZES = (0.1, 0.2)
_STUDENT = StudentSection(PERCEPTRON, width=256, layers=3)
_VARIED = partial(RecipeStep, shift=0.5, turn=10.0)
# Those of demo/recipes, and each for the other's bound.
STEPS = {
    "plain": RecipeStep(TRAIN, epochs=60, learning_rate=2e-3),
    "hardened for 0.1": _VARIED(
        HARDEN, epochs=200, learning_rate=4e-3, attack=0.1, attack_steps=5, smoothing=0.05
    ),
    "hardened for 0.2": _VARIED(
        HARDEN, epochs=200, learning_rate=4e-3, attack=0.2, attack_steps=5, smoothing=0.05
    ),
    "certified for 0.1": _VARIED(CERTIFY, epochs=300, learning_rate=2e-3, attack=0.1),
    "certified for 0.2": _VARIED(CERTIFY, epochs=300, learning_rate=2e-3, attack=0.2),
}


def compare(task: LearningTask, seeds: int, attacked: int = 400) -> list[Row]:
    """A row for each step: the shares of the test rows that are answered right, that no change of
    either size can turn, and, of the first `attacked`, that AutoAttack of that size does not turn.
    """
    found = []
    for way, step in STEPS.items():
        told = [_learn(task, step, seed, attacked) for seed in range(1, seeds + 1)]
        names = told[0]
        row = {name: Interval.of([each[name] for each in told]).shown() for name in names}
        found.append({"part": PART, "data": task.name, "way": way, "seeds": seeds} | row)
        print(found[-1], flush=True)
    return found


def targets(rows: list[Row]) -> list[Target]:
    """None: what it costs and brings is told."""
    return []


def _learn(task: LearningTask, step: RecipeStep, seed: int, attacked: int) -> dict[str, float]:
    torch.manual_seed(seed)
    net = make(_STUDENT, task.material.read)
    follow(step, net, task.corpus, seed, lambda _: lambda _: None, None)
    x, y = task.x_test, task.y_test
    net.eval().requires_grad_(False)
    found = {"accuracy": accuracy(net, x, y)}
    for size in SIZES:
        found[f"certified_{size:g}"] = float(certified(net, x, y, size).float().mean())
        found[f"withstood_{size:g}"] = _withstood(net, x[:attacked], y[:attacked], size, seed)
    return found


def _withstood(net: nn.Module, x: torch.Tensor, y: torch.Tensor, size: float, seed: int) -> float:
    np.random.seed(seed)
    moved = auto_attack(net, x.flatten(1).numpy(), y.numpy(), size)
    rows = torch.from_numpy(moved).reshape(x.shape)
    return float((net(rows).argmax(1) == y).float().mean())
