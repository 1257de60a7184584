"""Texts that turn INT8 and not float32: a search beside where an attack turns INT8.

An exchange of words moves a text in steps, most of which pass over the gap between both models'
borders. So of the first text on HotFlip's way that turns INT8, one exchanged word at a time is
exchanged for others, and kept is what INT8 answers otherwise and float32 as before.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from inference.text.tokens import Ids
from publishing.attacks.text_probe import ATTACKS, SHARES, TextProbe

Answers = Callable[[Ids], npt.NDArray[np.int64]]
_TRIES, _FAR = 48, ATTACKS[len(SHARES) - 1]


def turned_alone(
    probe: TextProbe, x: Ids, int8: Answers, float32: Answers, generator: np.random.Generator
) -> Ids:
    """Rows [m, s] that were made of x [n, s], at most one of each, and turn INT8 alone."""
    own = int8(x)
    moved = next(rows for name, rows in probe.attacks(x, generator) if name == _FAR)
    near, same = probe.nearest(x, moved, int8), own == float32(x)
    near, x, own = near[same], x[same], own[same]
    exchanged, found = near != x, dict[int, Ids]()
    left = np.flatnonzero(exchanged.any(axis=1))
    for attempt in range(_TRIES):
        if not len(left):
            break
        tried = near[left].copy()
        if attempt:
            places = np.where(exchanged[left], generator.random(tried.shape), -1).argmax(axis=1)
            tried[np.arange(len(left)), places] = generator.choice(probe.stock, len(left))
        turned = np.flatnonzero(int8(tried) != own[left])
        if len(turned):
            turned = turned[float32(tried[turned]) == own[left[turned]]]
        found |= {int(left[at]): tried[at] for at in turned}
        left = np.delete(left, turned)
    return np.stack([found[at] for at in sorted(found)]) if found else x[:0]
