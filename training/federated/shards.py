"""Rows dealt to clients so that no two have the same mix of classes (Hsu et al., arXiv 1909.06335).

The rows of each class are split by shares that a Dirichlet distribution draws: at a skew of 0.1
most clients see few classes, at 100 all see all.
"""

import numpy as np
import numpy.typing as npt

from sealgate.reasons import Reason, Refusal

_TRIES = 100
Places = npt.NDArray[np.int64]


def deal(
    y: npt.NDArray[np.int64], clients: int, skew: float, seed: int, least: int = 8
) -> tuple[Places, ...]:
    """The places of each client's rows, of classes y [n]: each place once, in ascending order.

    The same for one seed. Raises Refusal(TRAINING_DATA) where some client stays below `least` rows.
    """
    draws = np.random.default_rng(seed)
    for _ in range(_TRIES):
        shards = _deal_once(y, clients, skew, draws)
        if min(map(len, shards)) >= least:
            return shards
    raise Refusal(
        Reason.TRAINING_DATA, f"{len(y)} rows at skew {skew:g} leave a client fewer than {least}"
    )


def _deal_once(
    y: npt.NDArray[np.int64], clients: int, skew: float, draws: np.random.Generator
) -> tuple[Places, ...]:
    hands: list[list[Places]] = [[] for _ in range(clients)]
    for label in np.unique(y):
        rows = draws.permutation(np.flatnonzero(y == label))
        ends = np.cumsum(draws.dirichlet(np.full(clients, skew)))[:-1]
        cut = np.split(rows, np.round(ends * len(rows)).astype(np.int64))
        for hand, part in zip(hands, cut, strict=True):
            hand.append(part)
    return tuple(np.sort(np.concatenate(hand)) for hand in hands)
