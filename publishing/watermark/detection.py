"""Reading a mark: correlate the whitened weights with the key's chips.

Under a key that was chosen without sight of the weights the chips are independent fair signs, so
Hoeffding's inequality (JASA 58, 1963) bounds the chance of reading z or more by exp(-z^2 / 2),
whatever the weights are and whatever was done to them.

Which of several matrices of one shape is which cannot be told from a file whose names and order are
not ours, so the likeliest way to pair them with the chips is searched for. The search is paid for:
with T ways the bound is T exp(-z^2 / 2), and the z that is reported is the smaller one which, found
without a search, would be as unlikely.

What weakens the claim is a key picked after the fact: 2^40 keys can be tried, which z >= 12
outlasts (2^-103 each), and a commitment logged before the release shows that none were.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from publishing.watermark.chips import chips
from publishing.watermark.key import WatermarkKey

THRESHOLD = 12.0
# No claim is stronger than this: below it, the key's own secrecy is the weaker link.
_BOUND_CAP = -128 * math.log10(2)
# Heavy tails would drown the mark: one outlier outweighs hundreds of weights.
_CLIP = 4.0

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Detection:
    """What a key reads in some weights.

    `z` is in standard deviations, after the search has been paid for; `log10_bound` is the
    logarithm of the largest chance that an unrelated key reads as much (capped at 2^-128);
    `weights` is how many weights were read.
    """

    z: float
    log10_bound: float
    weights: int

    @property
    def found(self) -> bool:
        return self.z >= THRESHOLD


def detect(weights: Iterable[Floats], key: WatermarkKey) -> Detection:
    """Reads the mark of `key` in matrices and convolutions, output channels first, in any order.

    Needs neither the unmarked weights nor their names.
    """
    groups: dict[tuple[int, ...], list[Wide]] = defaultdict(list)
    for values in weights:
        white = whiten(values)
        if white.any():
            groups[values.shape].append(white.ravel())
    product = energy = log_ways = 0.0
    count = 0
    for shape, group in groups.items():
        signs = [chips(key.secret, key.model, shape, n).ravel() for n in range(len(group))]
        hosts = np.stack(group)
        product += _best_pairing(hosts @ np.stack(signs).T.astype(np.float64))
        energy += float(np.sum(hosts * hosts))
        log_ways += math.lgamma(len(group) + 1)
        count += hosts.size
    z = _without_search(product / math.sqrt(energy) if energy else 0.0, log_ways)
    bound = max(-z * z / 2 / math.log(10), _BOUND_CAP) if z > 0 else 0.0
    return Detection(z, bound, count)


def whiten(values: Floats) -> Wide:
    """Zero mean, unit spread, clipped; a constant matrix tells nothing and becomes zeros."""
    wide = values.astype(np.float64)
    centred: Wide = wide - wide.mean()
    spread = centred.std()
    # What is left of a constant in rounding is not a spread.
    if spread <= 1e-12 * np.abs(wide).max():
        return np.zeros_like(wide)
    return np.clip(centred / spread, -_CLIP, _CLIP)


def search_cost(shapes: Iterable[tuple[int, ...]]) -> float:
    """What pairing matrices of these shapes takes off the square of z."""
    counts: dict[tuple[int, ...], int] = defaultdict(int)
    for shape in shapes:
        counts[shape] += 1
    return 2 * sum(math.lgamma(count + 1) for count in counts.values())


def _without_search(z: float, log_ways: float) -> float:
    if z <= 0 or not log_ways:
        return z
    return math.sqrt(max(z * z - 2 * log_ways, 0.0))


def _best_pairing(scores: Wide) -> float:
    """The largest sum of scores [k, k] with one in each row and column, as far as swaps lead."""
    size = len(scores)
    column = np.empty(size, np.int64)
    left = scores.copy()
    for _ in range(size):
        row, best = np.unravel_index(int(left.argmax()), left.shape)
        column[row] = best
        left[row, :] = left[:, best] = -np.inf
    improved = True
    while improved:
        improved = False
        for first in range(size):
            for second in range(first + 1, size):
                a, b = column[first], column[second]
                if scores[first, b] + scores[second, a] > scores[first, a] + scores[second, b]:
                    column[first], column[second] = b, a
                    improved = True
    return float(scores[np.arange(size), column].sum())
