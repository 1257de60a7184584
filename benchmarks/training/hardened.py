"""What no change within a bound turns: plain, hardened and certified networks beside each other.

`python -m benchmarks.training.hardened` trains each on digits, one seed, and attacks it with
AutoAttack. Writes results/hardening.json. It has no targets: what it costs and brings is told.
"""

from functools import partial

import numpy as np
import torch

from benchmarks.report import Row, finish, show
from benchmarks.screening.toolbox import auto_attack
from benchmarks.training.rows import LearningTask, digits
from training.models.students import accuracy, make
from training.recipe.recipe import PERCEPTRON, StudentSection
from training.recipe.sections import CERTIFY, HARDEN, TRAIN, RecipeStep
from training.steps.certification import certified
from training.steps.runner import follow

SIZES = (0.1, 0.2)
_STUDENT = StudentSection(PERCEPTRON, width=256, layers=3)
_VARIED = partial(RecipeStep, shift=0.5, turn=10.0)
# As in demo/recipes, where hardening is for 0.2.
STEPS = {
    "plain": RecipeStep(TRAIN, epochs=60, learning_rate=2e-3),
    "hardened for 0.1": _VARIED(
        HARDEN, epochs=200, learning_rate=4e-3, attack=0.1, attack_steps=5, smoothing=0.05
    ),
    "certified for 0.1": _VARIED(CERTIFY, epochs=300, learning_rate=2e-3, attack=0.1),
}


def compare(task: LearningTask, seed: int) -> list[Row]:
    """A row for each step: the shares of the test rows that are answered right, that no change of
    either size can turn, and that AutoAttack of that size does not turn.
    """
    found = []
    for way, step in STEPS.items():
        about = {"data": task.name, "rows": len(task.y_test), "way": way}
        found.append(about | _learn(task, step, seed))
        print(found[-1], flush=True)
    return found


def _learn(task: LearningTask, step: RecipeStep, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    net = make(_STUDENT, task.material.read)
    follow(step, net, task.corpus, seed, lambda _: lambda _: None, None)
    x, y = task.x_test, task.y_test
    net.eval().requires_grad_(False)
    found = {"accuracy": accuracy(net, x, y)}
    for size in SIZES:
        found[f"certified_{size:g}"] = float(certified(net, x, y, size).float().mean())
        np.random.seed(seed)
        moved = torch.from_numpy(auto_attack(net, x.flatten(1).numpy(), y.numpy(), size))
        found[f"withstood_{size:g}"] = accuracy(net, moved.reshape(x.shape), y)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    compared = compare(digits(), seed=1)
    show(compared)
    finish("hardening", compared, [])
