"""Trains and writes the demo's models and data: `python -m demo.train_models [FOLDER]`.

It wrote the files under demo/. On another machine it trains equally good models, but not always the
same to the last bit, since the order of floating-point sums may differ.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from safetensors.numpy import save
from torch import nn
from torch.nn import functional

from demo import datasets
from demo.datasets import DemoDataset
from inference.model.config import (
    Batching,
    InputDomain,
    InputScaling,
    ModelConfig,
    TrainingDataInfo,
)
from inference.model.request_tensors import TensorSpec
from training.export.classifier import export_response, export_serving
from training.export.reference import CleanReference
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


_STEP = 0.03


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A folder under demo/models, and its content."""

    folder: str
    recipe: MlpRecipe
    description: str


DIGITS = (
    DemoModel(
        "digits-standard",
        MlpRecipe(seed=1, hidden=(128, 64), smoothing=0.05, attack=0.1),
        "A small network that reads handwritten digits of 8 by 8 pixels.",
    ),
    DemoModel(
        "digits-hardened",
        MlpRecipe(seed=2, hidden=(128, 64), smoothing=0.05, attack=0.15, noise=0.03),
        "A small network that reads handwritten digits of 8 by 8 pixels, hardened further.",
    ),
)
BREAST_CANCER = (
    DemoModel(
        "breast-cancer",
        MlpRecipe(
            seed=1,
            hidden=(128, 96),
            epochs=80,
            learning_rate=2e-3,
            dropout=0.2,
            noise=0.02,
            smoothing=0.05,
        ),
        "A small network that tells malignant from benign tumours by 30 measurements of cells.",
    ),
)
_USE = {
    "digits": "Demonstration of a governed model; not for reading real documents.",
    "breast-cancer": "Demonstration of a governed model; not a medical device.",
}


def write_data(data: DemoDataset, folder: Path) -> None:
    """Write `<name>.safetensors` with x_ and y_ of each slice that is published."""
    tensors: dict[str, np.ndarray] = {}
    for name in datasets.PUBLISHED:
        tensors[f"x_{name}"] = data.slices[name].x
        tensors[f"y_{name}"] = data.slices[name].y
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{data.name}.safetensors").write_bytes(save(tensors))


def write_model(model: DemoModel, data: DemoDataset, folder: Path) -> Mlp:
    """Train, and write `model.json`, `serving.onnx` and `response.onnx`."""
    part = data.slices["train"]
    module = train(part.x, part.y, len(data.labels), model.recipe)
    row = part.x.shape[1:]
    target = folder / model.folder
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.json").write_bytes(_config(model, data, row).encode())
    (target / "serving.onnx").write_bytes(export_serving(module, row))
    reference = CleanReference.of_rows(module, part.x, part.y)
    (target / "response.onnx").write_bytes(export_response(module, row, reference))
    return module


def accuracy(module: Mlp, part: datasets.DemoSlice) -> float:
    """The share of rows that the module gets right."""
    with torch.no_grad():
        found = module(torch.from_numpy(part.x)).argmax(1).numpy()
    return float(np.mean(found == part.y))


def _config(model: DemoModel, data: DemoDataset, row: tuple[int, ...]) -> ModelConfig:
    return ModelConfig(
        name=data.name,
        description=model.description,
        intended_use=_USE[data.name],
        data=TrainingDataInfo(data.title, data.license),
        input=TensorSpec("x", "FP32", (-1, *row)),
        output=TensorSpec("logits", "FP32", (-1, len(data.labels))),
        labels=data.labels,
        domain=InputDomain(0.0, 1.0),
        eps=_STEP,
        batching=Batching(max_rows=64, delay_us=300, queue_rows=4096),
        scaling=InputScaling(data.offset, data.scale),
        columns=data.columns,
        image=data.image,
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
def main(folder: Path) -> None:
    """Write models and data below FOLDER (demo)."""
    torch.set_num_threads(1)
    # It warns of packages that it does without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for data, models in (
        (datasets.digits(), DIGITS),
        (datasets.breast_cancer(), BREAST_CANCER),
    ):
        write_data(data, folder / "data")
        for model in models:
            module = write_model(model, data, folder / "models")
            score = accuracy(module, data.slices["test"])
            click.echo(f"{model.folder}: {score:.3f} of the test rows right")


if __name__ == "__main__":
    main()
