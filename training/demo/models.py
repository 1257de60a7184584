"""Trains and writes the demo's models and data: `python -m training.demo.models [FOLDER]`.

It wrote the files under demo/. On another machine it trains equally good models, but not always the
same to the last bit, since the order of floating-point sums may differ.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.numpy import save

from inference.model.config import (
    Batching,
    InputDomain,
    InputScaling,
    ModelConfig,
    TensorSpec,
    TrainingDataInfo,
)
from training.demo import datasets, mlp
from training.demo.datasets import DemoDataset
from training.demo.mlp import MlpRecipe
from training.export.classifier import export_response, export_serving
from training.export.reference import CleanReference

_STEP = 0.03


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A folder under demo/models, and its content."""

    folder: str
    recipe: MlpRecipe
    description: str


DIGITS = (
    DemoModel(
        "digits-1",
        MlpRecipe(seed=1, hidden=(128, 64), smoothing=0.05, attack=0.1),
        "A small network that reads handwritten digits of 8 by 8 pixels.",
    ),
    DemoModel(
        "digits-2",
        MlpRecipe(seed=2, hidden=(128, 64), smoothing=0.05, attack=0.15, noise=0.03),
        "A small network that reads handwritten digits of 8 by 8 pixels, hardened further.",
    ),
)
BREAST_CANCER = (
    DemoModel(
        "breast-cancer-1",
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


def write_model(model: DemoModel, data: DemoDataset, folder: Path) -> mlp.Mlp:
    """Train, and write `model.json`, `serving.onnx` and `response.onnx`."""
    part = data.slices["train"]
    module = mlp.train(part.x, part.y, len(data.labels), model.recipe)
    row = part.x.shape[1:]
    target = folder / model.folder
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.json").write_bytes(_config(model, data, row).encode())
    (target / "serving.onnx").write_bytes(export_serving(module, row))
    reference = CleanReference.of_rows(module, part.x, part.y)
    (target / "response.onnx").write_bytes(export_response(module, row, reference))
    return module


def accuracy(module: mlp.Mlp, part: datasets.DemoSlice) -> float:
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
