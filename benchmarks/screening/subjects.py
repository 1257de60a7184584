"""Whom `make bench-screening` attacks: models that are trained for it, each split anew.

A seed shuffles a data set and cuts it in four slices that share no row: `train` for the weights and
for what clean rows look like in each layer, `fit` for the detector, `calibration` for its
thresholds, `test` for all that is reported. Each data set has a model as it is trained without a
thought of attacks, and one hardened by CleverHans' PGD.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from sklearn import datasets

from benchmarks.subjects import fashion_rows
from inference.model_config import Domain
from inference.screening import contract
from inference.screening.detector import Detector
from publishing.calibrate import fit
from publishing.probe import Probe
from training import mlp
from training.mlp import Mlp, Recipe
from training.reference import Reference, watched
from training.response import FEATURES, Watch, respond

CACHE = Path("build/bench/screening")
DOMAIN = Domain(0.0, 1.0)
STEP = 0.03
"""The detector's own, as in the demo's models."""
PLAIN, HARDENED = MODELS = ("plain", "hardened")
_PGD_STEPS = 7
Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set. An attack of size 1 moves a column by its `unit` [D] at most: by `eps` for a
    whole image's pixels, by that many interquartile ranges for a table's columns.
    """

    name: str
    title: str
    image: bool
    eps: float
    sizes: tuple[int, int, int]
    recipe: Recipe
    harder: float


DIGITS = Source(
    "digits",
    "digits",
    True,
    0.2,
    (617, 300, 480),
    Recipe(seed=0, hidden=(128, 64), smoothing=0.05),
    0.25,
)
TABLE = Source(
    "breast-cancer",
    "breast cancer",
    False,
    0.1,
    (249, 100, 110),
    Recipe(0, (128, 96), epochs=80, learning_rate=2e-3, dropout=0.2, noise=0.02, smoothing=0.05),
    0.05,
)
FASHION = Source(
    "fashion-mnist",
    "Fashion-MNIST",
    True,
    0.1,
    (4000, 600, 1000),
    Recipe(seed=0, hidden=(128, 64), epochs=25, smoothing=0.05),
    0.1,
)
SOURCES = (DIGITS, TABLE, FASHION)
_FASHION_ROWS = 6600


class TorchSession:
    """The response that a version's graph computes, by the torch function that it is exported from
    (`tests/integration/screening/test_export.py` holds one against the other).
    """

    def __init__(self, module: Mlp, reference: Reference) -> None:
        self.module, self.reference = module, reference

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> Any:
        x, label, eps, low, high = (torch.as_tensor(input_feed[each]) for each in contract.INPUTS)
        if output_names == [contract.LOGITS]:
            with torch.no_grad():
                return [self.module(x).numpy()]
        with watched(self.module) as entered:
            # An attack takes steps and asks for no feature.
            step_alone = output_names == [contract.X_ADV]
            watch = None if step_alone else Watch(self.reference, entered)
            found = respond(self.module, x, label, eps, low, high, watch)
        named = dict(zip(contract.OUTPUTS, found, strict=True))
        return [named[name].numpy() for name in output_names or contract.OUTPUTS]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its slices; `unit` [D] is how far an attack of size 1 may move each column."""

    source: Source
    model: str
    seed: int
    session: TorchSession
    slices: dict[str, tuple[Rows, Labels]]
    unit: Rows

    @property
    def module(self) -> Mlp:
        return self.session.module

    @property
    def probe(self) -> Probe:
        return Probe(self.session, STEP, DOMAIN)

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
        """One fitted as a version's is, with the attacks of `publishing.probe`; then for each
        family one without the attacks whose names hold it.
        """
        x_fit, x_calibration = self.slices["fit"][0], self.slices["calibration"][0]
        attacks = list(self.probe.attacks(x_fit, np.random.default_rng(self.seed)))
        shown = [attacks]
        shown += [[each for each in attacks if family not in each[0]] for family in left_out]
        return [
            fit(
                Remembering(self.probe, each),
                x_fit,
                x_calibration,
                np.random.default_rng(self.seed),
            )
            for each in shown
        ]

    def without_reference(self) -> Detector:
        """Fitted as a version's is, but blind to how far rows lie from those of their class."""
        x_fit, x_calibration = self.slices["fit"][0], self.slices["calibration"][0]
        generator = np.random.default_rng(self.seed)
        attacks = list(self.probe.attacks(x_fit, np.random.default_rng(self.seed)))
        return fit(Remembering(self.probe, attacks, FEATURES), x_fit, x_calibration, generator)


@dataclass(frozen=True, slots=True)
class Remembering:
    """A probe of rows whose attacks have been made already, as far as they are to be shown, and
    the first `width` features alone.
    """

    probe: Probe
    made: list[tuple[str, Rows]]
    width: int | None = None

    def measure(self, x: Rows) -> tuple[Rows, Rows]:
        logits, features = self.probe.measure(x)
        return logits, features[:, : self.width]

    def answers(self, x: Rows) -> Labels:
        return self.probe.answers(x)

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        return self.probe.shifts(x, generator)

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        return iter(self.made)


def subject(source: Source, model: str, seed: int) -> Subject:
    """The model, trained or as it was kept. Raises FileNotFoundError where there are no data."""
    slices, unit = _slices(source, seed)
    x, y = slices["train"]
    recipe = replace(source.recipe, seed=seed)
    if model == HARDENED:
        recipe = replace(recipe, attack=source.harder, attack_steps=_PGD_STEPS)
    kept = CACHE / source.name / model / str(seed) / f"{_short(repr(recipe))}.safetensors"
    classes = int(y.max()) + 1
    if kept.exists():
        module = Mlp((x.shape[1], *recipe.hidden, classes))
        module.load_state_dict(load_file(kept))
        module.eval().requires_grad_(False)
    else:
        module = mlp.train(x, y, classes, recipe)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), kept)
    session = TorchSession(module, Reference.of_rows(module, x, y))
    return Subject(source, model, seed, session, slices, unit)


def _slices(source: Source, seed: int) -> tuple[dict[str, tuple[Rows, Labels]], Rows]:
    raw, y = _READERS[source.name]()
    order = np.random.default_rng(seed).permutation(len(raw))
    names = ("train", "fit", "calibration", "test")
    places = np.split(order, np.cumsum(source.sizes))
    train = raw[places[0]]
    low, width = np.zeros(1), np.ones(1)
    unit = np.full(raw.shape[1], source.eps)
    if not source.image:
        low = train.min(axis=0)
        width = train.max(axis=0) - low
        spread = np.subtract(*np.quantile(train, [0.75, 0.25], axis=0))
        unit = source.eps * spread / width
    slices = {
        name: (np.clip((raw[at] - low) / width, 0, 1).astype(np.float32), y[at].astype(np.int64))
        for name, at in zip(names, places, strict=True)
    }
    return slices, unit.astype(np.float32)


def _fashion() -> tuple[Rows, Labels]:
    found = fashion_rows(_FASHION_ROWS)
    if found is None:
        raise FileNotFoundError("Fashion-MNIST: apt-get install dataset-fashion-mnist")
    return found[0], found[1].astype(np.int64)


_READERS: dict[str, Callable[[], tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = {
    DIGITS.name: lambda: (datasets.load_digits().data / 16, datasets.load_digits().target),
    TABLE.name: lambda: datasets.load_breast_cancer(return_X_y=True),
    FASHION.name: _fashion,
}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
