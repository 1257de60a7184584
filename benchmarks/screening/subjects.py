"""The models that `make bench NAME=screening` attacks: trained for it, each split anew.

Each data set has a model as it is trained without a thought of attacks, and one hardened by
CleverHans' PGD: images as `sealgate train` hardens them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.screening.sources import DataSet, Hardening, Labels, Rows, cut, more_fashion
from demo import train_models
from demo.train_models import Mlp, MlpRecipe
from inference.model.columns import RowRules
from inference.model.config import InputDomain
from inference.runtime import response_contract
from inference.screening.detector import Detector
from publishing.attacks.probe import Probe
from publishing.calibration.detector_fit import fit
from training.export.reference import CleanReference, watched
from training.export.response import LayerTap, respond
from training.models.students import Convolution, Perceptron
from training.recipe.recipe import CONVOLUTION
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.runner import follow

CACHE = Path("build/bench/screening")
DOMAIN = InputDomain(0.0, 1.0)
STEP = 0.03
"""The detector's own, as in the demo's models."""
PLAIN, HARDENED = MODELS = ("plain", "hardened")
_PGD_STEPS = 7


class TorchSession:
    """The response that a version's graph computes, by the torch function that it is exported from
    (`tests/integration/screening/test_export.py` holds one against the other).
    """

    def __init__(self, module: nn.Module, reference: CleanReference) -> None:
        self.module, self.reference = module, reference

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Any:
        x, label, eps, low, high = (
            torch.as_tensor(input_feed[each]) for each in response_contract.INPUTS
        )
        if output_names == [response_contract.LOGITS]:
            with torch.no_grad():
                return [self.module(x).numpy()]
        if output_names == [response_contract.GRADIENT]:
            here = x.clone().requires_grad_(True)
            loss = nn.functional.cross_entropy(self.module(here), label, reduction="sum")
            return [torch.autograd.grad(loss, here)[0].numpy()]
        with watched(self.module) as entered:
            # An attack takes steps and asks for no feature.
            step_alone = output_names == [response_contract.X_ADV]
            watch = None if step_alone else LayerTap(self.reference, entered)
            found = respond(self.module, x, label, eps, low, high, watch)
        named = dict(zip(response_contract.OUTPUTS, found, strict=True))
        return [named[name].numpy() for name in output_names or response_contract.OUTPUTS]


@dataclass(frozen=True, slots=True)
class ScreenedModel:
    """A model with its slices; `unit` [D] is how far an attack of size 1 may move each column,
    `columns` what a caller can send at all, and `later` rows of another time by their name.
    """

    source: DataSet
    model: str
    seed: int
    session: TorchSession
    slices: dict[str, tuple[Rows, Labels]]
    unit: Rows
    columns: RowRules
    later: dict[str, Rows]

    @property
    def module(self) -> nn.Module:
        return self.session.module

    @property
    def classes(self) -> int:
        return int(self.slices["train"][1].max()) + 1

    @property
    def probe(self) -> Probe:
        image = self.source.image
        return Probe(self.session, STEP, DOMAIN, None if image else self.columns, image)

    @property
    def right(self) -> tuple[Rows, Labels]:
        """The test rows that the model tells right, with their classes."""
        x, y = self.slices["test"]
        chosen = self.probe.answers(x) == y
        return x[chosen], y[chosen]

    @property
    def digest(self) -> str:
        """Of weights and rows: what is cached belongs to them."""
        found = hashlib.sha256(self.slices["test"][0].tobytes())
        for tensor in self.module.state_dict().values():
            found.update(tensor.numpy().tobytes())
        return found.hexdigest()[:16]

    def detectors(self, left_out: Sequence[str] = ()) -> list[Detector]:
        """One fitted as a version's is, with the attacks of `publishing.attacks.probe`; then
        for each family one without the attacks whose names hold it.
        """
        attacks = self._shown()
        shown = [attacks]
        shown += [[each for each in attacks if family not in each[0]] for family in left_out]
        return [self._fitted(Remembering(self.probe, each)) for each in shown]

    def _shown(self) -> list[tuple[str, Rows]]:
        x = self.slices["fit"][0]
        return list(self.probe.attacks(x, np.random.default_rng(self.seed)))

    def _fitted(self, probe: "Remembering") -> Detector:
        x_fit, x_calibration = self.slices["fit"][0], self.slices["calibration"][0]
        return fit(probe, x_fit, x_calibration, np.random.default_rng(self.seed))


@dataclass(frozen=True, slots=True)
class Remembering:
    """A probe of rows whose attacks have been made already, as far as they are to be shown."""

    probe: Probe
    made: list[tuple[str, Rows]]

    def measure(self, x: Rows) -> tuple[Rows, Rows]:
        return self.probe.measure(x)

    def answers(self, x: Rows) -> Labels:
        return self.probe.answers(x)

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        return self.probe.shifts(x, generator)

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        return iter(self.made)


def subject(source: DataSet, model: str, seed: int) -> ScreenedModel:
    """The model, trained or as it was kept. Raises FileNotFoundError where there are no data."""
    found = cut(source, seed)
    x, y = found.slices["train"]
    recipe: MlpRecipe | Hardening = replace(source.recipe, seed=seed)
    if model == HARDENED:
        recipe = (
            source.harder
            if isinstance(source.harder, Hardening)
            else replace(source.recipe, seed=seed, attack=source.harder, attack_steps=_PGD_STEPS)
        )
    kept = CACHE / source.name / model / str(seed) / f"{_short(repr(recipe))}.safetensors"
    classes = int(y.max()) + 1
    if kept.exists():
        module = _blank(recipe, x.shape[1:], classes)
        module.load_state_dict(load_file(kept))
        module.eval().requires_grad_(False)
    else:
        module = _trained(recipe, x, y, classes, seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), kept)
    session = TorchSession(module, CleanReference.of_rows(module, x, y))
    rows = found.slices, found.unit, found.columns, found.later
    return ScreenedModel(source, model, seed, session, *rows)


def _blank(recipe: MlpRecipe | Hardening, row: tuple[int, ...], classes: int) -> nn.Module:
    if isinstance(recipe, MlpRecipe):
        return Mlp((row[0], *recipe.hidden, classes))
    student = recipe.student
    if student.kind == CONVOLUTION:
        return Convolution(row, student.width, student.layers, classes, student.strides)
    return Perceptron(row[0], student.width, student.layers, classes)


def _trained(
    recipe: MlpRecipe | Hardening, x: Rows, y: Labels, classes: int, seed: int
) -> nn.Module:
    if isinstance(recipe, MlpRecipe):
        return train_models.train(x, y, classes, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _blank(recipe, x.shape[1:], classes)
        if recipe.more:
            more_x, more_y = more_fashion(recipe.more)
            x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
        corpus = TaughtRows(TrainingBatch(torch.from_numpy(x), torch.from_numpy(y)))
        follow(recipe.step, module, corpus, seed, lambda _: lambda _: None, None)
    return module.eval().requires_grad_(False)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
