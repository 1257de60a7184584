"""Networks that `make bench NAME=watermark` marks: of digits, trained here, and MiniLM."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from publishing.watermark.carrier_weights import MIN_ELEMENTS
from training.models.encoder import MINILM, TextClassifier, load_bert
from training.models.students import Convolution, Perceptron
from training.recipe import recipe
from training.steps.certification import certified
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.runner import follow

Floats = npt.NDArray[np.float32]
State = dict[str, Floats]
Batch = tuple[torch.Tensor, torch.Tensor]
Train = Callable[[nn.Module, torch.Tensor, torch.Tensor], None]
# That others fine-tune the encoder on.
_TEXTS = 192
_RECIPE = Path("demo/recipes/digits-certified.toml")
# Bounds on the change of each pixel, as shares of its range.
SIZES = (0.01, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Neurons:
    """Neurons that can change places: every axis that runs over them, as (weight, axis, repeat)
    where `repeat` values belong to each; `scaled` the one whose values can be multiplied as those
    of `unscaled` are divided, where that changes nothing. They come in `groups` of equal size.
    """

    count: int
    axes: tuple[tuple[str, int, int], ...]
    scaled: tuple[str, ...] = ()
    unscaled: tuple[str, ...] = ()
    groups: int = 1
    droppable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class MarkedNetwork:
    """A network; `cost` compares a state with the unmarked one: what was lost, in `unit`. `proved`
    is, of a certified one, the share of test rows whose answer no change within each of `SIZES`
    turns.
    """

    name: str
    module: nn.Module
    state: State
    neurons: tuple[Neurons, ...]
    unit: str
    limit: float
    cost: Callable[[State], float]
    other_data: Callable[[float], Iterator[Batch]]
    rate: float
    proved: Callable[[State], list[float]] | None = None

    def hosts(self, state: Mapping[str, Floats]) -> list[str]:
        """The names of the weights that carry a mark."""
        return [n for n, w in state.items() if w.ndim >= 2 and w.size >= MIN_ELEMENTS]

    def load(self, state: State) -> nn.Module:
        """The module with these parameters, of which layers may have more or fewer."""
        for name, parameter in self.module.named_parameters():
            parameter.data = torch.from_numpy(np.ascontiguousarray(state[name], np.float32))
            parameter.grad = None
        return self.module.eval()

    def finetuned(self, state: State, seed: int, epochs: int, share: float) -> State:
        """Epochs on a share of the data that others than the owner have."""
        torch.manual_seed(seed)
        module = self.load({name: values.copy() for name, values in state.items()}).train()
        descent = torch.optim.AdamW(module.parameters(), lr=self.rate)
        for _ in range(epochs):
            for x, y in self.other_data(share):
                logits = module(*x) if isinstance(x, tuple) else module(x)
                loss = functional.cross_entropy(logits.flatten(0, -2), y.flatten())
                descent.zero_grad()
                loss.backward()
                descent.step()
        return state_of(module)


def mlp(seed: int, width: int = 512) -> MarkedNetwork:
    """Digits, with two hidden layers; a narrow one is cheap enough to train twenty."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        *(nn.Linear(64, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, 10),
    )
    neurons = (_relu("0", "2", width), _relu("2", "4", width))
    return _digits("MLP" if width >= 512 else "small MLP", module, neurons, lambda x: x)


def certified_mlp() -> MarkedNetwork:
    """Digits, with three hidden layers, trained by the step of the demo's certified network."""
    torch.manual_seed(0)
    module = Perceptron(64, 256, 3, 10)
    layers = ("body.1", "body.3", "body.5", "head")
    neurons = tuple(_relu(*pair, 256) for pair in pairwise(layers))
    return _digits("certified MLP", module, neurons, lambda x: x, _certify)


def certified_cnn() -> MarkedNetwork:
    """Digits, by the demo's certified network: four convolutions."""
    torch.manual_seed(0)
    module = Convolution((64,), 64, 2, 10, strides=True)
    between = (("body.1", "body.3", 32), ("body.3", "body.5", 32), ("body.5", "body.7", 64))
    neurons = (*(_relu(*each) for each in between), _relu("body.7", "head", 64, 4))
    return _digits("certified CNN", module, neurons, lambda x: x, _certify)


def cnn() -> MarkedNetwork:
    """Digits, with two convolutions."""
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 10)),
    )
    neurons = (_relu("0", "2", 32), _relu("2", "6", 64, 16), _relu("6", "8", 256))
    return _digits("CNN", module, neurons, lambda x: x.reshape(-1, 1, 8, 8))


def encoder(folder: Path) -> MarkedNetwork:
    """MiniLM-L6 with its published weights; `folder` holds them and the benchmark's rows."""
    module = TextClassifier(MINILM, 2)
    load_bert(module, load_file(folder / "model.safetensors"))
    module.eval()
    rows = np.load(folder / "rows.npz")
    test = [torch.from_numpy(rows[f"test_{name}"][:200]) for name in ("ids", "mask")]
    ids, mask, labels = (
        torch.from_numpy(rows[f"train_{n}"][:_TEXTS]) for n in ("ids", "mask", "labels")
    )
    state = state_of(module)
    neurons = []
    for layer in range(MINILM.layers):
        at = f"layers.{layer}."
        axes = tuple((f"{at}inner.{kind}", 0, 1) for kind in ("weight", "bias"))
        neurons.append(Neurons(MINILM.inner, (*axes, (f"{at}outer.weight", 1, 1))))
        neurons += heads_of(at, "query", "key", "value", "mixed", MINILM.width, MINILM.heads)

    def vectors() -> torch.Tensor:
        with torch.no_grad():
            return functional.normalize(module.encode(module.words(test[0]), test[1]), dim=1)

    plain = vectors()

    def cost(changed: State) -> float:
        subject.load(changed)
        return 1 - float((vectors() * plain).sum(dim=1).mean())

    def other_data(share: float) -> Iterator[Batch]:
        for start in range(0, max(int(share * len(ids)), 32), 32):
            part = slice(start, start + 32)
            yield (module.words(ids[part]), mask[part]), labels[part]

    subject = MarkedNetwork(
        "MiniLM", module, state, tuple(neurons), "1 - cosine", 0.001, cost, other_data, 3e-5
    )
    return subject


def _digits(
    name: str,
    module: nn.Module,
    neurons: tuple[Neurons, ...],
    shape: Callable[[torch.Tensor], torch.Tensor],
    train: Train | None = None,
) -> MarkedNetwork:
    """Trained on 1,000 of the 1,797 digits; another 397 are for thieves."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    rows = torch.from_numpy((x[order] / 16).astype(np.float32))
    classes = torch.from_numpy(y[order].astype(np.int64))
    learned, theirs, test = slice(0, 1000), slice(1000, 1397), slice(1397, None)
    (train or _descend)(module, shape(rows[learned]), classes[learned])
    # Each test row twenty times with other noise: a hundredth of a point can be told.
    noise = torch.randn((20, 400, 64), generator=torch.Generator().manual_seed(1))
    sample = (rows[test] + 0.15 * noise).flatten(0, 1)
    wanted = classes[test].repeat(20)

    def accuracy() -> float:
        with torch.no_grad():
            return 100 * float(
                (module.eval()(shape(sample)).argmax(dim=1) == wanted).float().mean()
            )

    plain = accuracy()

    def cost(changed: State) -> float:
        subject.load(changed)
        return plain - accuracy()

    def other_data(share: float) -> Iterator[Batch]:
        for part in torch.randperm(int(share * 397)).split(50):
            yield shape(rows[theirs][part]), classes[theirs][part]

    def proved(changed: State) -> list[float]:
        found = subject.load(changed)
        shares = (certified(found, rows[test], classes[test], size) for size in SIZES)
        return [float(share.float().mean()) for share in shares]

    told = proved if train is _certify else None
    unit, limit, rate = "points of accuracy", 0.1, 1e-3
    subject = MarkedNetwork(
        name, module, state_of(module), neurons, unit, limit, cost, other_data, rate, told
    )
    return subject


def _descend(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """On rows that are noisy."""
    descent = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(40):
        for part in torch.randperm(len(x)).split(50):
            noisy = x[part] + 0.15 * torch.randn_like(x[part])
            loss = functional.cross_entropy(module(noisy), y[part])
            descent.zero_grad()
            loss.backward()
            descent.step()


def _certify(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    for step in recipe.Recipe.read(_RECIPE).steps:
        rows = TaughtRows(TrainingBatch(x, y))
        follow(step, module, rows, 0, lambda _: lambda _: None, None)


def _relu(before: str, after: str, count: int, repeat: int = 1) -> Neurons:
    own = ((f"{before}.weight", 0, 1), (f"{before}.bias", 0, 1))
    read = f"{after}.weight"
    axes = (*own, (read, 1, repeat))
    return Neurons(count, axes, (f"{before}.weight", f"{before}.bias"), (read,))


def heads_of(
    at: str, query: str, key: str, value: str, mixed: str, width: int, heads: int
) -> Sequence[Neurons]:
    """Heads as wholes, and the features within each of queries and keys, and of values."""
    one, two, three = (
        tuple((f"{at}{name}.{kind}", 0, 1) for kind in ("weight", "bias"))
        for name in (query, key, value)
    )
    read = (f"{at}{mixed}.weight", 1, 1)
    size = width // heads

    def names(axes: tuple[tuple[str, int, int], ...]) -> tuple[str, ...]:
        return tuple(name for name, _, _ in axes)

    whole = tuple((name, axis, size) for name, axis, _ in (*one, *two, *three, read))
    return (
        Neurons(heads, whole, droppable=False),
        Neurons(width, (*one, *two), names(one), names(two), heads, droppable=False),
        Neurons(width, (*three, read), names(three), (read[0],), heads, droppable=False),
    )


def state_of(module: nn.Module) -> State:
    """Its weights, copied."""
    found: dict[str, Any] = module.state_dict()
    return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}
