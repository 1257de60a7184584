"""What a detector is fitted and measured with: attacks on a model, and benign changes beside them.

All of it is made by the response graph, with no torch. FGSM and PGD are those of
`inference.screening.attack`. A near attack stops where the answer changes, or a little
behind, as attacks that look for the smallest change do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model_config import Domain
from inference.screening import attack, contract
from inference.screening.attack import Labels, Rows, Session

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

# Sizes are shares of the domain's width.
SIZES: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
NOISE: tuple[float, ...] = (0.05, 0.1, 0.2)
_NEAR = ("fgsm-0.3", "pgd-0.2", "pgd-0.3")
# A near attack goes at most this much further than it must.
_OVERSHOOT = 1.5
_BRIGHTER, _DARKER, _MISSING = 0.1, 0.8, 0.05
_HALVINGS = 8

ATTACKS: tuple[str, ...] = (
    *(f"{kind}-{size:g}" for size in SIZES for kind in ("fgsm", "pgd")),
    *(f"near-{name}" for name in _NEAR),
)
SHIFTS: tuple[str, ...] = (
    *(f"noise-{size:g}" for size in NOISE),
    "brighter",
    "darker",
    "missing",
)


class Prober(Protocol):
    """Measures, moves and attacks rows of one model."""

    def measure(self, x: Array) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        ...

    def answers(self, x: Array) -> Labels:
        """Return the model's own classes [n] of rows x."""
        ...

    def shifts(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each benign change and the rows x under it."""
        ...

    def attacks(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """A response graph with the step and domain by which it is asked."""

    session: Session
    eps: float
    domain: Domain

    def measure(self, x: Rows) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        given = attack.feeds(x, self.eps, self.domain.min, self.domain.max)
        logits, features = self.session.run([contract.LOGITS, contract.FEATURES], given)
        return logits, features

    def answers(self, x: Rows) -> Labels:
        """Return the model's own classes [n] of rows x."""
        given = attack.feeds(x, self.eps, self.domain.min, self.domain.max)
        (logits,) = self.session.run([contract.LOGITS], given)
        return np.asarray(logits.argmax(axis=1), np.int64)

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Noise goes as far as any attack of that size: each place moves by it, up or down. What is
        missing takes its place's mean, as it would where a caller fills it in.
        """
        low, width = self.domain.min, self.domain.max - self.domain.min
        for size in NOISE:
            signs = np.where(generator.random(x.shape) < 0.5, -1, 1)
            yield f"noise-{size:g}", self._within(x + size * width * signs)
        yield "brighter", self._within(x + _BRIGHTER * width)
        yield "darker", self._within(low + _DARKER * (x - low))
        missing = generator.random(x.shape) < _MISSING
        yield "missing", self._within(np.where(missing, x.mean(axis=0), x))

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        own, low, high = self.answers(x), self.domain.min, self.domain.max
        made: dict[str, Rows] = {}
        for size in SIZES:
            reach = size * (high - low)
            made[f"fgsm-{size:g}"] = attack.fgsm(self.session, x, reach, low, high, own)
            step = reach / attack.PGD_SHARE
            made[f"pgd-{size:g}"] = attack.pgd(
                self.session, x, own, reach, step, attack.PGD_STEPS, low, high
            )
        for name in _NEAR:
            further = generator.uniform(1, _OVERSHOOT, len(x))
            made[f"near-{name}"] = self._near(x, made[name], own, further)
        yield from made.items()

    def _near(self, x: Rows, moved: Rows, own: Labels, further: Array) -> Rows:
        """On the way from x to `moved`, `further` times as far as the answer needs to change."""
        shape = (-1, *[1] * (x.ndim - 1))
        unchanged, changed = np.zeros(len(x)), np.ones(len(x))
        for _ in range(_HALVINGS):
            middle = (unchanged + changed) / 2
            here = self.answers(self._within(x + middle.reshape(shape) * (moved - x))) != own
            changed, unchanged = np.where(here, middle, changed), np.where(here, unchanged, middle)
        share = np.minimum(1, changed * further).reshape(shape)
        return self._within(x + share * (moved - x))

    def _within(self, x: Array) -> Rows:
        return np.clip(x, self.domain.min, self.domain.max).astype(np.float32)
