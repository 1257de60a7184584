"""Certified training: a network learns from the worst that any change of a row can do.

Bounds of a row's places become bounds of each layer's outputs, up to the lead that a class has over
another (interval bound propagation; Gowal et al., arXiv 1810.12715, with their elision of the last
layer). Where every lead of the row's class is above zero, no change within the bound turns the
answer: that is a proof, where hardening gives a row that no known attack turned.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.data import RunData
from training.recipe.sections import CERTIFY, RecipeStep
from training.steps.distillation import TrainingBatch
from training.steps.hardening import varied

# The share of the training over which bound and weight of the worst case grow. Bounds of a network
# that was not trained for them are so wide that it would learn to answer one class for all.
_GROWTH = 0.6
_AT_ONCE = 64

Bounds = tuple[torch.Tensor, torch.Tensor]


class CertifiedLoss(nn.Module):
    """The cross-entropy to the labels of rows x [n, ...], from 0 to 1: of the rows as they are,
    which counts `step.plain` at last, and of the worst within `step.attack`.
    """

    def __init__(self, step: RecipeStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, student: Any, batch: TrainingBatch, progress: float) -> torch.Tensor:
        """The loss; `progress` is the share of all steps that are done."""
        grown = min(progress / _GROWTH, 1.0)
        x = varied(batch.x, self.step.shift, self.step.turn)
        leads = least_leads(student, x, batch.y, self.step.attack * grown)
        plain = functional.cross_entropy(student.answers(x)[1], batch.y)
        worst = functional.cross_entropy(-leads, batch.y)
        share = 1 - (1 - self.step.plain) * grown
        return share * plain + (1 - share) * worst


def certified(student: nn.Module, x: torch.Tensor, y: torch.Tensor, size: float) -> torch.Tensor:
    """Of rows x [n, ...], from 0 to 1, which are answered with their class y [n] whatever changes
    in each place by up to `size`: bool [n]. `student` is a perceptron or a convolution.
    """
    with torch.no_grad():
        parts = zip(x.split(_AT_ONCE), y.split(_AT_ONCE), strict=True)
        leads = torch.cat([least_leads(student, *part, size) for part in parts])
    others = torch.arange(leads.shape[1], device=y.device) != y[:, None]
    return ((leads > 0) | ~others).all(1)


def share_certified(
    student: nn.Module, material: RunData, steps: Sequence[RecipeStep]
) -> dict[str, Any] | None:
    """The result of the last certifying step: the `share` of the test slice's `rows` that are
    answered right under every change of up to `within`. None of steps that do not certify.
    """
    sizes = [step.attack for step in steps if step.kind == CERTIFY]
    if not sizes:
        return None
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in material.slices["test"])
    found = certified(student.eval(), x, y, sizes[-1])
    return {"share": float(found.float().mean()), "rows": len(y), "within": sizes[-1]}


def least_leads(student: Any, x: torch.Tensor, y: torch.Tensor, size: float) -> torch.Tensor:
    """By how much the class y [n] is ahead of each at least, [n, C], for all changes of the rows
    x [n, ...] by up to `size` that stay from 0 to 1; 0 for the class itself.
    """
    low, high = (x - size).clamp(0, 1), (x + size).clamp(0, 1)
    for layer in student.body:
        low, high = _through(layer, low, high)
    head = student.head
    # [n, C, width]: what a lead weighs each of the last vector's places with.
    weight, bias = head.weight[y][:, None] - head.weight, head.bias[y][:, None] - head.bias
    middle, reach = (low + high) / 2, (high - low) / 2
    at_middle = torch.einsum("ncw,nw->nc", weight, middle)
    return at_middle - torch.einsum("ncw,nw->nc", weight.abs(), reach) + bias


def _through(layer: nn.Module, low: torch.Tensor, high: torch.Tensor) -> Bounds:
    """Bounds of what a layer makes of what lies within bounds."""
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        # Flattening, ReLU and maxima never fall where what they get rises.
        return layer(low), layer(high)
    middle, reach = layer((low + high) / 2), (high - low) / 2
    if isinstance(layer, nn.Linear):
        wide = functional.linear(reach, layer.weight.abs())
    else:
        wide = functional.conv2d(reach, layer.weight.abs(), None, layer.stride, layer.padding)
    return middle - wide, middle + wide
