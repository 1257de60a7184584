"""Random groups of clients, and rules that join what the groups' sums say.

A secure sum hides a poisoned update among honest ones, so nothing can be sorted out inside a group.
Across groups it can, while fewer than half of them hold a poisoner:

    median, trimmed-mean   coordinate by coordinate, so each lies between what honest groups say
                           (Yin et al., arXiv 1803.01498)
    closest                the mean of those groups, all but `trim`, that are least apart (minimum
                           diameter averaging, El Mhamdi et al., arXiv 1802.07927)

Where clients' classes are unlike, honest means differ in most coordinates, and a poisoner moves a
median of three by that much; the closest are whole means of honest groups.
"""

import itertools
import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.federated.recipe import CLOSEST, MEDIAN, TRIMMED

Vector = npt.NDArray[np.float64]


def draw_groups(
    clients: Sequence[int], size: int, draws: random.Random
) -> tuple[tuple[int, ...], ...]:
    """All clients in groups of `size` or more, as even as can be, each client in one."""
    order = draws.sample(clients, len(clients))
    count = len(order) // size
    return tuple(tuple(order[at::count]) for at in range(count))


def join(rule: str, means: Sequence[npt.NDArray[np.floating]], trim: int = 1) -> Vector:
    """From each group's mean [n] to what moves the weights [n], coordinate by coordinate.

    `rule` is one of `training.federated.recipe.RULES`; the plain mean keeps no poisoner away.
    """
    stack = np.stack([np.asarray(mean, np.float64) for mean in means])
    if rule == MEDIAN:
        return np.median(stack, axis=0)
    if rule == CLOSEST:
        stack = stack[_closest(stack, len(stack) - trim)]
    if rule == TRIMMED:
        stack = np.sort(stack, axis=0)[trim : len(stack) - trim]
    joined: Vector = stack.mean(axis=0)
    return joined


def _closest(stack: Vector, count: int) -> list[int]:
    """The places of the `count` rows whose largest distance to one another is least."""
    apart = np.stack([np.linalg.norm(stack - row, axis=1) for row in stack])
    sets = (list(each) for each in itertools.combinations(range(len(stack)), count))
    return min(sets, key=lambda each: float(apart[np.ix_(each, each)].max()))
