"""Attacks on images that a red team's report lists and no detector is shown.

- `l1-SIZE`: steps in the few places where the gradient is largest, within a ball of the sum of all
  moves (SLIDE, Tramèr and Boneh, arXiv 1904.13000). Sizes are shares of the domain's width;
- `patch`: PGD without a bound on a sixteenth of the image, at the first of four drawn places that
  turns the answer;
- `moved`: of each row the first turn by up to 30 degrees or shift by a pixel that turns the answer.
  Such a row is an honest image that the model gets wrong.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.screening.gradient_attacks import PGD_STEPS, Labels, Rows
from publishing.attacks.image_changes import moved_images
from publishing.attacks.probe import Answers, Array, Floats, Probe

L1_SIZES: tuple[float, ...] = (2.0, 5.0)
PATCH, MOVED = "patch", "moved"
UNSHOWN: tuple[str, ...] = (*(f"l1-{size:g}" for size in L1_SIZES), PATCH, MOVED)
# A step goes so far of the ball's size, in that share of the places.
_L1_STEP, _L1_PLACES = 0.25, 0.05
# A patch is a quarter of the image high and wide.
_PATCH, _PLACES = 4, 4
_DEGREES, _PIXELS = (0, -10, 10, -20, 20, -30, 30), (0, -1, 1)


@dataclass(frozen=True, slots=True)
class ReportedProbe:
    """A probe of images of a height and width, channels first, which ends with these attacks."""

    probe: Probe
    image: tuple[int, int]

    def measure(self, x: Rows) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        return self.probe.measure(x)

    def answers(self, x: Rows) -> Labels:
        """Return the model's own classes [n] of rows x."""
        return self.probe.answers(x)

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each benign change and the rows x under it."""
        return self.probe.shifts(x, generator)

    def nearest(self, x: Rows, moved: Rows, answers: Answers) -> Rows:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        return self.probe.nearest(x, moved, answers)

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        yield from self.probe.attacks(x, generator)
        own = self.answers(x)
        for size in L1_SIZES:
            yield f"l1-{size:g}", self._l1(x, own, size * self._width)
        yield PATCH, self._patch(x, own, generator)
        yield MOVED, self._moved(x, own)

    @property
    def _width(self) -> float:
        return self.probe.domain.max - self.probe.domain.min

    def _l1(self, x: Rows, own: Labels, size: float) -> Rows:
        flat, domain = x.reshape(len(x), -1), self.probe.domain
        count, moved = max(1, int(_L1_PLACES * flat.shape[1])), flat
        for _ in range(PGD_STEPS):
            slope = self.probe.gradient(moved.reshape(x.shape), own).reshape(flat.shape)
            # A place at an end of the domain goes no further.
            ended = np.where(slope > 0, moved >= domain.max, moved <= domain.min)
            slope = np.where(ended, 0, slope)
            least = -np.partition(-np.abs(slope), count - 1, axis=1)[:, count - 1 : count]
            step = np.sign(slope) * (np.abs(slope) >= least) * (_L1_STEP * size / count)
            moved = flat + _onto_l1(moved + step - flat, size)
            moved = np.clip(moved, domain.min, domain.max).astype(np.float32)
        return moved.reshape(x.shape)

    def _patch(self, x: Rows, own: Labels, generator: np.random.Generator) -> Rows:
        found, left = x.copy(), np.arange(len(x))
        high, wide = (max(1, side // _PATCH) for side in self.image)
        for _ in range(_PLACES):
            free = np.zeros((len(left), x[:1].size // np.prod(self.image), *self.image), np.bool_)
            down = generator.integers(0, self.image[0] - high + 1, len(left))
            right = generator.integers(0, self.image[1] - wide + 1, len(left))
            for row, top, side in zip(free, down, right, strict=True):
                row[:, top : top + high, side : side + wide] = True
            rows, labels = x[left], own[left]
            moved = self.probe.walked_in(rows, labels, self._width, free.reshape(rows.shape))
            turned = self.answers(moved) != labels
            found[left[turned]] = moved[turned]
            left = left[~turned]
            if not len(left):
                break
        return found

    def _moved(self, x: Rows, own: Labels) -> Rows:
        found, left, low = x.copy(), np.arange(len(x)), self.probe.domain.min
        for degrees, down, right in itertools.product(_DEGREES, _PIXELS, _PIXELS):
            images = x[left].reshape(-1, *self.image)
            moved = low + moved_images(images - low, degrees, down, right)
            moved = moved.reshape(x[left].shape).astype(np.float32)
            turned = self.answers(moved) != own[left]
            found[left[turned]] = moved[turned]
            left = left[~turned]
            if not len(left):
                break
        return found


def _onto_l1(off: npt.NDArray[np.floating], size: float) -> Array:
    """The nearest to moves [n, D] whose sizes sum to `size` at most (Duchi et al., 2008)."""
    sizes = np.abs(off)
    ranked = -np.sort(-sizes, axis=1)
    over = (np.cumsum(ranked, axis=1) - size) / np.arange(1, off.shape[1] + 1)
    last = np.maximum((ranked > over).sum(axis=1) - 1, 0)
    cut = np.maximum(over[np.arange(len(off)), last], 0)[:, np.newaxis]
    return np.asarray(np.sign(off) * np.maximum(sizes - cut, 0))
