"""Attacks on a model and benign changes of rows, with which a detector is fitted and measured.

The response graph makes all of them, without torch. FGSM and PGD are those of
`inference.screening.gradient_attacks`; beside these, PGD where the row is not background or at
random places, PGD in a Euclidean ball, and a sparse attack. Images are also changed as a camera
changes them (`publishing.attacks.image_changes`). A near attack stops where the answer changes, or
slightly beyond, like attacks that search for the smallest change. For tables, no row violates the
rules of its columns (`inference.model.columns`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.model.columns import RowRules
from inference.model.config import CLASSES, InputDomain, ModelConfig
from inference.model.decisions import Decision
from inference.runtime import response_contract
from inference.screening import gradient_attacks
from inference.screening.gradient_attacks import AttackSession, Labels, Rows
from publishing.attacks.image_changes import CONTRASTS, camera_changes, retaken_images
from publishing.attacks.parted_rows import PartedSession
from sealgate.reasons import SealgateError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Answers = Callable[[Array], Labels]
Turned = Callable[[Array], npt.NDArray[np.bool_]]

# Sizes are shares of the domain's width.
SIZES: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
MASKED: tuple[float, ...] = (0.1, 0.2, 0.3)
# Shares of the domain's width, as the Euclidean length of a move.
RADII: tuple[float, ...] = (1.0, 2.0)
SPARSE = "sparse"
# A sparse attack sets so many places at most, and no more than a tenth of wide rows.
_MOST_PLACES, _FEWEST_PLACES = 10, 3
_L2_STEP = 0.25
# A mask excludes the places within this share of the domain's lowest value; or, at random, that
# share of all places, drawn from a seed.
_BACKGROUND, _LEFT_ALONE, _MASKS = 0.02, 0.5, 18
NOISE: tuple[float, ...] = (0.05, 0.1, 0.2)
_NEAR = ("fgsm-0.3", "pgd-0.2", "pgd-0.3")
# A near attack goes at most this much further than it must.
_OVERSHOOT = 1.5
_BRIGHTER, _DARKER, _MISSING = 0.1, 0.8, 0.05
_HALVINGS = 8
# Where two borders run side by side, one is looked for more closely.
_CLOSE_HALVINGS = 14

ATTACKS: tuple[str, ...] = (
    *(f"{kind}-{size:g}" for size in SIZES for kind in ("fgsm", "pgd")),
    *(f"near-{name}" for name in _NEAR),
    *(f"{kind}-{size:g}" for size in MASKED for kind in ("masked", "masked-random")),
    *(f"l2-{radius:g}" for radius in RADII),
    SPARSE,
)
SHIFTS: tuple[str, ...] = (
    *(f"noise-{size:g}" for size in NOISE),
    "brighter",
    "darker",
    "missing",
)
BEYOND: tuple[str, ...] = (f"noise-{NOISE[-1]:g}", *CONTRASTS)
"""Shifts that a detector is shown and whose alarms have no bound, which would let attacks pass."""


class Prober(Protocol):
    """Measures, changes and attacks rows of one model."""

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
    """A response graph with the step and domain by which it is asked; of a table, the columns, so
    that nothing is made of its rows that could not be sent; of images, their height and width.
    """

    session: AttackSession
    eps: float
    domain: InputDomain
    columns: RowRules | None = None
    image: tuple[int, int] | None = None
    decision: Decision = CLASSES

    @classmethod
    def of(cls, session: AttackSession, config: ModelConfig) -> "Probe":
        """Of a model of numbers."""
        about = config.table, config.image, config.decision
        return cls(PartedSession(session), config.eps, config.domain, *about)

    def measure(self, x: Rows) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        given = gradient_attacks.feeds(x, self.eps, self.domain.min, self.domain.max)
        logits, features = self.session.run(
            [response_contract.LOGITS, response_contract.FEATURES], given
        )
        return logits, features

    def answers(self, x: Rows) -> Labels:
        """Return the model's own classes or levels [n] of rows x."""
        return self.decision.index(self._logits(x))

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Noise goes as far as any attack of that size: each place moves by it, up or down. A
        missing value becomes its place's mean, as where a caller fills it in.
        """
        for name, moved in self._shifted(x, generator):
            yield name, moved if self.columns is None else self.columns.changed(x, moved)

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        own, width = self.answers(x), self.domain.max - self.domain.min
        made: dict[str, Rows] = {}
        for size in SIZES:
            made[f"fgsm-{size:g}"] = self._stepped(x, own, size * width)
            made[f"pgd-{size:g}"] = self._walked(x, own, size * width)
        for name in _NEAR:
            further = generator.uniform(1, _OVERSHOOT, len(x))
            made[f"near-{name}"] = self._near(x, made[name], further)
        inked = x > self.domain.min + _BACKGROUND * width
        drawn = np.random.default_rng(_MASKS).random(x.shape) >= _LEFT_ALONE
        for size in MASKED:
            made[f"masked-{size:g}"] = self.walked_in(x, own, size * width, inked)
            made[f"masked-random-{size:g}"] = self.walked_in(x, own, size * width, drawn)
        for radius in RADII:
            made[f"l2-{radius:g}"] = self._l2(x, own, radius * width)
        made[SPARSE] = self._sparse(x, own)
        yield from made.items()

    def nearest(self, x: Rows, moved: Rows, answers: Answers) -> Rows:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        own = answers(x)
        turning = self._turning(x, moved, lambda rows: answers(rows) != own, _CLOSE_HALVINGS)
        return self._towards(x, moved, turning)

    def walked_in(self, x: Rows, own: Labels, reach: float, free: Array) -> Rows:
        """PGD in the places [n, ...] alone that are `free`."""
        near, far = x - np.float32(reach), x + np.float32(reach)
        if self.columns is not None:
            near, far = self.columns.reach(x, reach)
        ends = self._within(np.where(free, near, x)), self._within(np.where(free, far, x))
        step, domain = reach / gradient_attacks.PGD_SHARE, (self.domain.min, self.domain.max)
        moved = gradient_attacks.walk(
            self.session, x, own, ends, step, gradient_attacks.PGD_STEPS, *domain
        )
        return moved if self.columns is None else self.columns.within(x, moved)

    def gradient(self, x: Rows, labels: Labels) -> Floats:
        """Of the loss; zeros where the graph does not show it."""
        given = gradient_attacks.feeds(x, 0.0, self.domain.min, self.domain.max, labels)
        try:
            (found,) = self.session.run([response_contract.GRADIENT], given)
        except (SealgateError, KeyError):
            return np.zeros_like(x)
        return np.asarray(found if self.columns is None else found * self.columns.free, np.float32)

    def _shifted(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        low, width = self.domain.min, self.domain.max - self.domain.min
        for size in NOISE:
            signs = np.where(generator.random(x.shape) < 0.5, -1, 1)
            yield f"noise-{size:g}", self._within(x + size * width * signs)
        yield "brighter", self._within(x + _BRIGHTER * width)
        yield "darker", self._within(low + _DARKER * (x - low))
        missing = generator.random(x.shape) < _MISSING
        yield "missing", self._within(np.where(missing, x.mean(axis=0), x))
        if self.image is not None:
            shape = self.image, low, self.domain.max
            for name, moved in camera_changes(x, *shape):
                yield name, self._within(moved)
            yield from retaken_images(x, *shape, generator)

    def _stepped(self, x: Rows, own: Labels, reach: float) -> Rows:
        moved = gradient_attacks.fgsm(self.session, x, reach, self.domain.min, self.domain.max, own)
        return moved if self.columns is None else self.columns.within(x, moved)

    def _walked(self, x: Rows, own: Labels, reach: float) -> Rows:
        low, high, step = self.domain.min, self.domain.max, reach / gradient_attacks.PGD_SHARE
        if self.columns is None:
            return gradient_attacks.pgd(
                self.session, x, own, reach, step, gradient_attacks.PGD_STEPS, low, high
            )
        ends = self.columns.reach(x, reach)
        moved = gradient_attacks.walk(
            self.session, x, own, ends, step, gradient_attacks.PGD_STEPS, low, high
        )
        return self.columns.within(x, moved)

    def _l2(self, x: Rows, own: Labels, radius: float) -> Rows:
        """PGD (arXiv 1706.06083) along the gradient, within a Euclidean ball."""
        moved, axes = x, tuple(range(1, x.ndim))
        for _ in range(gradient_attacks.PGD_STEPS):
            slope = self.gradient(moved, own)
            length = np.sqrt((slope * slope).sum(axis=axes, keepdims=True))
            off = moved + _L2_STEP * radius * slope / (length + 1e-12) - x
            length = np.sqrt((off * off).sum(axis=axes, keepdims=True))
            moved = self._within(x + off * np.minimum(1, radius / (length + 1e-12)))
        return moved if self.columns is None else self.columns.within(x, moved)

    def _sparse(self, x: Rows, own: Labels) -> Rows:
        """One place after another goes to an end of the domain, where the gradient gains most,
        until the answer turns: as JSMA does (arXiv 1511.07528), by the loss's gradient alone.
        """
        low, high, flat = self.domain.min, self.domain.max, x.reshape(len(x), -1)
        moved, size = flat.copy(), flat.shape[1]
        free = np.ones(flat.shape, np.bool_)
        if self.columns is not None:
            free &= self.columns.free.ravel()
        rows, turned = np.arange(len(x)), self._turned(x)
        for _ in range(min(_MOST_PLACES, max(_FEWEST_PLACES, size // 10))):
            still = ~turned(moved.reshape(x.shape))
            slope = self.gradient(moved.reshape(x.shape), own).reshape(flat.shape)
            ends = np.where(slope > 0, high, low)
            gains = np.where(free, slope * (ends - moved), -np.inf)
            place = gains.argmax(axis=1)
            # Where nothing gains, no place is better than another.
            still &= gains[rows, place] > 0
            free[rows, place] = False
            moved[rows, place] = np.where(still, ends[rows, place], moved[rows, place])
        ended = moved.reshape(x.shape).astype(np.float32)
        return ended if self.columns is None else self.columns.within(x, ended)

    def _near(self, x: Rows, moved: Rows, further: Array) -> Rows:
        """On the way from x to `moved`, `further` times as far as the answer needs to change."""
        turning = self._turning(x, moved, self._turned(x), _HALVINGS)
        return self._towards(x, moved, np.minimum(1, turning * further))

    def _turned(self, x: Rows) -> Turned:
        """Tells which rows are answered otherwise than x."""
        before = self._logits(x)
        return lambda rows: self.decision.changed(before, self._logits(rows))

    def _logits(self, x: Rows) -> Floats:
        given = gradient_attacks.feeds(x, self.eps, self.domain.min, self.domain.max)
        (logits,) = self.session.run([response_contract.LOGITS], given)
        return np.asarray(logits, np.float32)

    def _turning(self, x: Rows, moved: Rows, turned: Turned, halvings: int) -> Array:
        """The share [n] of the way from x to `moved` after which the answer has turned."""
        unchanged, changed = np.zeros(len(x)), np.ones(len(x))
        for _ in range(halvings):
            middle = (unchanged + changed) / 2
            here = turned(self._towards(x, moved, middle))
            changed, unchanged = np.where(here, middle, changed), np.where(here, unchanged, middle)
        return changed

    def _towards(self, x: Rows, moved: Rows, share: Array) -> Rows:
        """That share [n] of the way; of a table, the first rows from there on that can be sent."""
        there = self._within(x + share.reshape(-1, *[1] * (x.ndim - 1)) * (moved - x))
        return there if self.columns is None else self.columns.beyond(x, there)

    def _within(self, x: Array) -> Rows:
        return np.clip(x, self.domain.min, self.domain.max).astype(np.float32)
