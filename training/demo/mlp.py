"""The demo's classifier, three fully connected layers, and its training."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from training.steps.hardening import by_pgd


class Mlp(nn.Module):
    """Logits [n, C] of rows [n, D]."""

    def __init__(self, sizes: tuple[int, int, int, int], dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(sizes[0], sizes[1])
        self.second = nn.Linear(sizes[1], sizes[2])
        self.last = nn.Linear(sizes[2], sizes[3])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(functional.relu(self.first(x)))
        logits: torch.Tensor = self.last(self.dropout(functional.relu(self.second(hidden))))
        return logits


@dataclass(frozen=True, slots=True)
class MlpRecipe:
    """How a model is trained. Noise and attacks are in units of x, in [0, 1].

    `attack` is the largest size by which half of each batch is moved; 0 leaves it out. It is moved
    by FGSM (adversarial training, arXiv 1412.6572) or, in more than one of `attack_steps`, by
    CleverHans' PGD (arXiv 1706.06083). `smoothing` of the labels keeps answers from being all but
    certain, where neither a margin nor a gradient tells much.
    """

    seed: int
    hidden: tuple[int, int]
    epochs: int = 120
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    dropout: float = 0.0
    noise: float = 0.0
    attack: float = 0.0
    attack_steps: int = 1
    smoothing: float = 0.0


def train(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], classes: int, recipe: MlpRecipe
) -> Mlp:
    """Train on x [n, D] in [0, 1] and y [n]. The same on one machine for one recipe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        module = Mlp((x.shape[1], *recipe.hidden, classes), recipe.dropout)
        _descend(module, torch.from_numpy(x), torch.from_numpy(y), recipe)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def rebuild(model: onnx.ModelProto) -> Mlp:
    """The torch module of an exported graph, from its initializers."""
    state = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
        if tensor.name.endswith((".weight", ".bias"))
    }
    first, second, last = (state[f"{layer}.weight"] for layer in ("first", "second", "last"))
    module = Mlp((first.shape[1], first.shape[0], second.shape[0], last.shape[0]))
    module.load_state_dict(state)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _descend(module: Mlp, x: torch.Tensor, y: torch.Tensor, recipe: MlpRecipe) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps)
    module.train()
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(x)).split(recipe.batch):
            rows = _harden(module, x[chosen], y[chosen], recipe)
            loss = functional.cross_entropy(
                module(rows), y[chosen], label_smoothing=recipe.smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _harden(module: Mlp, x: torch.Tensor, y: torch.Tensor, recipe: MlpRecipe) -> torch.Tensor:
    if recipe.noise:
        x = (x + recipe.noise * torch.randn_like(x)).clamp(0, 1)
    if recipe.attack:
        half = len(x) // 2
        moved = (_by_fgsm if recipe.attack_steps == 1 else _by_pgd)(
            module, x[:half], y[:half], recipe
        )
        x = torch.cat([moved, x[half:]])
    return x


def _by_fgsm(module: Mlp, x: torch.Tensor, y: torch.Tensor, recipe: MlpRecipe) -> torch.Tensor:
    start = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(functional.cross_entropy(module(start), y), start)
    size = recipe.attack * torch.rand(len(x), 1)
    return (start.detach() + size * slope.sign()).clamp(0, 1)


def _by_pgd(module: Mlp, x: torch.Tensor, y: torch.Tensor, recipe: MlpRecipe) -> torch.Tensor:
    size = recipe.attack * float(torch.rand(()))
    # It adds to the parameters' gradients, which `_descend` clears before its own.
    return by_pgd(module, x, y, size, recipe.attack_steps)
