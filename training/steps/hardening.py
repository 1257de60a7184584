"""Adversarial training: a network learns from attacked rows (Madry et al., arXiv 1706.06083).

1. Each row of a batch is moved by CleverHans' PGD to where the network errs most, within a bound
   that grows from zero over the first part of the training: a network that knows nothing yet learns
   nothing from rows that are moved by the full bound at once.
2. Every other image is first shifted and rotated a little, differently in every step. From few rows
   a network can memorise what to answer around each, which hardens it around no other.
3. The result is a running mean of the weights (Izmailov et al., arXiv 1803.05407), which varies
   less than the weights themselves (Gowal et al., arXiv 2010.03593).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent
from torch import nn
from torch.nn import functional

from training.recipe.sections import RecipeStep
from training.steps.distillation import TrainingBatch

Forward = Callable[[torch.Tensor], torch.Tensor]
# How far the steps of a walk reach together, in its bound; Madry's.
_REACH = 2.5
# The share of the training over which the bound grows.
_GROWTH = 0.3
# How much of the mean outlives a step.
_MEMORY = 0.99


def by_pgd(
    forward: Forward, x: torch.Tensor, y: torch.Tensor, size: float, steps: int
) -> torch.Tensor:
    """Rows x [n, ...] of a domain from 0 to 1, each moved by at most `size` in every place, from a
    start at random and in so many steps, to where `forward` errs most from its class y [n].
    """
    step = min(_REACH * size / steps, size)
    moved = projected_gradient_descent(
        forward, x, size, step, steps, np.inf, 0.0, 1.0, y, sanity_checks=False
    )
    return torch.as_tensor(moved).detach()


class AdversarialLoss(nn.Module):
    """The cross-entropy to the labels of rows x [n, ...], from 0 to 1, that were moved; each has a
    label.

    `take_mean` gives the student the mean of its weights.
    """

    seen: torch.Tensor

    def __init__(self, step: RecipeStep, student: nn.Module) -> None:
        super().__init__()
        self.step = step
        # Buffers, so that a run continued after a kill keeps them.
        self.register_buffer("seen", torch.zeros(()))
        for at, parameter in enumerate(student.parameters()):
            self.register_buffer(f"mean{at}", parameter.detach().clone())

    def forward(self, student: Any, batch: TrainingBatch, progress: float) -> torch.Tensor:
        """The loss; `progress` is the share of all steps that are done."""
        self._follow(student)
        # 2.
        x = varied(batch.x, self.step.shift, self.step.turn)
        # 1.
        size = self.step.attack * min(progress / _GROWTH, 1.0)
        with _fixed(student):
            x = by_pgd(student, x, batch.y, size, self.step.attack_steps)
        return functional.cross_entropy(
            student.answers(x)[1], batch.y, label_smoothing=self.step.smoothing
        )

    def take_mean(self, student: nn.Module) -> None:
        """Give the student, in place, the mean of the weights that it had."""
        with torch.no_grad():
            for parameter, mean in zip(student.parameters(), self._means(), strict=True):
                parameter.copy_(mean)

    def _follow(self, student: nn.Module) -> None:
        """3. The first weights, at random, are soon forgotten."""
        self.seen += 1
        share = max(1 - _MEMORY, 1 / (9 + float(self.seen)))
        with torch.no_grad():
            for mean, parameter in zip(self._means(), student.parameters(), strict=True):
                mean.lerp_(parameter, share)

    def _means(self) -> list[torch.Tensor]:
        return [mean for name, mean in self.named_buffers() if name != "seen"]


def varied(x: torch.Tensor, shift: float, turn: float) -> torch.Tensor:
    """Images x, [n, 1, side, side] or their pixels [n, side * side], of which every other one is
    shifted by up to `shift` pixels both ways and turned by up to `turn` degrees. It is blurred by
    that, which is why the others stay as they are.
    """
    if not shift and not turn:
        return x
    side = math.isqrt(x[0].numel())
    images = x[::2].reshape(-1, 1, side, side)
    count = len(images)
    # Drawn on the CPU, so that a seed means the same shifts on every device.
    way = torch.deg2rad(turn * _between(count)).to(x.device)
    across, down = ((2 / side * shift * _between(count)).to(x.device) for _ in range(2))
    rows = (way.cos(), -way.sin(), across), (way.sin(), way.cos(), down)
    grid = functional.affine_grid(
        torch.stack([torch.stack(row, 1) for row in rows], 1), list(images.shape), False
    )
    found = x.clone()
    found[::2] = functional.grid_sample(images, grid, align_corners=False).reshape(x[::2].shape)
    return found


def _between(rows: int) -> torch.Tensor:
    """Numbers at random from -1 to 1, [rows]."""
    return 2 * torch.rand(rows) - 1


@contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """An attack needs no gradient of the weights, which would take as long as that of the rows."""
    learning = [each for each in module.parameters() if each.requires_grad]
    for each in learning:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in learning:
            each.requires_grad_(True)
