"""False positives of marks: wrong keys, and networks that nobody marked."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch import nn
from torch.nn import functional

from benchmarks.marking.decoder import decoder
from benchmarks.marking.marks import Marking, file_of, key_of
from benchmarks.marking.subjects import Floats, MarkedNetwork, State, mlp, state_of
from benchmarks.report import Row
from publishing.watermark.correlation import numbered, whiten
from publishing.watermark.key import chip_words

NARROW, UNMARKED = 128, "unmarked "
DECODERS = "decoders trained independently"


def wrong_keys(subject: MarkedNetwork, count: int) -> Row:
    """The largest z of so many keys on a network that none of them marked."""
    hosts = [subject.state[name] for name in subject.hosts(subject.state)]
    planes = [_Planes(host) for host in hosts]
    places = list(numbered(host.shape for host in hosts))
    size = math.sqrt(sum(each.energy for each in planes))
    found = []
    for seed in range(count):
        code = key_of(10_000 + seed).presence(bytes(4))
        sums = (
            each.product(chip_words(code.secret, code.model, *place))
            for each, place in zip(planes, places, strict=True)
        )
        found.append(sum(sums) / size)
    return {
        "weights": f"{UNMARKED}{subject.name}",
        "keys": count,
        "largest_z": max(found),
        "spread": float(np.std(found)),
    }


class _Planes:
    """Whitened weights in steps of 4/127, a plane for each binary digit: a product with signs is
    then eight counts of bits, which is quick enough for ten thousand keys.
    """

    def __init__(self, host: Floats) -> None:
        steps = np.rint(whiten(host).reshape(-1) * (127 / 4)).astype(np.int64)
        self.energy = float(steps @ steps)
        self._sum = int(steps.sum())
        raised = (steps + 128).astype(np.uint8)
        self._digits = [_packed(raised >> digit & 1) for digit in range(8)]
        self._there = _packed(np.ones(len(raised), np.uint8))

    def product(self, words: npt.NDArray[np.uint64]) -> int:
        """The sum of the weights, each times its sign."""
        counts = [int(np.bitwise_count(plane & words).sum()) for plane in self._digits]
        ones = int(np.bitwise_count(self._there & words).sum())
        positive = sum(count << digit for digit, count in enumerate(counts)) - 128 * ones
        return 2 * positive - self._sum


def _packed(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    whole = np.pad(bits, (0, -len(bits) % 64))
    return np.packbits(whole, bitorder="little").view("<u8")


def false_positives(independent: int, unrelated: int) -> list[Row]:
    """The readings of one key's mark, blind and aligned, in networks without it."""
    marking = Marking(mlp(0, NARROW), 0)
    kinds: dict[str, Iterator[State]] = {
        "trained independently": (mlp(100 + n, NARROW).state for n in range(independent)),
        "unrelated": (_unrelated(n) for n in range(unrelated)),
    }
    return [_claims(marking, kind, states) for kind, states in kinds.items()]


def independent_decoders(count: int) -> list[Row]:
    """The same of the decoder's mark in decoders of other first weights and other texts' order."""
    states = (decoder(100 + n).state for n in range(count))
    return [_claims(Marking(decoder(), 0), DECODERS, states)]


def _claims(marking: Marking, kind: str, states: Iterable[State]) -> Row:
    read = [marking.read(file_of(state)) for state in states]
    return {
        "networks": kind,
        "count": len(read),
        "claimed": sum(each.verdict != "lost" for each in read),
        "largest_z": max(each.found.z for each in read),
    }


def _unrelated(seed: int) -> State:
    """Every other one is of the marked network's shapes, with weights as training begins; the rest
    are trained on other tables, and as wide as it comes.
    """
    torch.manual_seed(seed)
    if seed % 2:
        return state_of(_perceptron(64, NARROW, NARROW, 10))
    rng = np.random.default_rng(seed)
    load: Callable[..., tuple[Floats, Floats]] = (load_wine, load_breast_cancer)[seed // 2 % 2]
    x, y = load(return_X_y=True)
    rows = torch.from_numpy(((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32))
    first, second = (int(width) for width in rng.integers(64, 256, 2))
    module = _perceptron(rows.shape[1], first, second, int(y.max()) + 1)
    descent = torch.optim.AdamW(module.parameters(), lr=2e-3)
    for _ in range(40):
        loss = functional.cross_entropy(module(rows), torch.from_numpy(y.astype(np.int64)))
        descent.zero_grad()
        loss.backward()
        descent.step()
    return state_of(module)


def _perceptron(inputs: int, first: int, second: int, classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(inputs, first), nn.ReLU()),
        *(nn.Linear(first, second), nn.ReLU()),
        nn.Linear(second, classes),
    )
