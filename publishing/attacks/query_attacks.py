"""Black-box attacks that see only the answers; they measure a defence against queries.

Each yields the rows that it asks about, one by one, and is sent the class of the answer; it knows
the row's true class. All stay inside the domain, 0 to 1. They follow the papers:

- `square`: Andriushchenko et al., arXiv 1912.00049, in the L-infinity norm. With labels alone its
  loss has two values, so it keeps only what changes the answer;
- `hop_skip_jump`: Chen et al., arXiv 1904.02144, in the L-infinity norm;
- `jacobian_augmentation`: Papernot et al., arXiv 1602.02697, the extraction that PRADA is tested
  on; its attacker is given the model's own gradient instead of a substitute's.
"""

import math
from collections.abc import Callable, Generator, Iterator

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]
Asking = Generator[Row, int, Row]
"""Asks with rows, is sent classes, and returns its adversarial row."""
_BINARY_STEPS = 10
_FIRST_ESTIMATE = 100


def square(
    x: Row, label: int, eps: float, queries: int, share: float, draw: np.random.Generator
) -> Asking:
    """`share` is how much of the row the first squares cover (0.05 in the paper); x [d], of a
    square image.
    """
    side = math.isqrt(len(x))
    stripes = np.repeat(draw.choice([-1.0, 1.0], (1, side)), side, axis=0)
    best = np.clip(x + eps * stripes.ravel(), 0, 1).astype(np.float32)
    if (yield best) != label:
        return best
    for number in range(1, queries):
        size = max(round(math.sqrt(_share(share, number, queries) * len(x))), 1)
        row, column = draw.integers(0, side - size + 1, 2)
        moved = best.reshape(side, side).copy()
        here = slice(row, row + size), slice(column, column + size)
        moved[here] = x.reshape(side, side)[here] + eps * draw.choice([-1.0, 1.0])
        asked = np.clip(moved.ravel(), 0, 1).astype(np.float32)
        if (yield asked) != label:
            return asked
    return best


def _share(first: float, number: int, queries: int) -> float:
    """The paper's schedule, halving at fixed parts of the queries."""
    marks = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    at = number * 10_000 / queries
    return float(first / 2 ** sum(at > mark for mark in marks))


def hop_skip_jump(
    x: Row, label: int, eps: float, queries: int, draw: np.random.Generator
) -> Asking:
    """Ends where its row is within `eps` of x, or with its best after `queries`."""
    edge, asked = yield from _found(x, label, queries, draw)
    for step in range(1, 65):
        edge, high = yield from _nearer(x, label, edge)
        asked += _BINARY_STEPS
        if np.abs(edge - x).max() <= eps or asked > queries:
            return edge
        size = high / len(x)
        number = min(int(_FIRST_ESTIMATE * np.sqrt(step)), 1000)
        signs, moves = [], draw.uniform(-1, 1, (number, len(x)))
        for move in moves:
            asked += 1
            near = np.clip(edge + max(size, 1e-3) * move, 0, 1).astype(np.float32)
            signs.append(1.0 if (yield near) != label else -1.0)
        weights = np.array(signs) - np.mean(signs)
        if not weights.any():
            weights = np.array(signs)
        direction = np.sign((weights[:, None] * moves).mean(axis=0))
        reach = high / np.sqrt(step)
        while reach > 1e-4:
            tried = np.clip(edge + reach * direction, 0, 1).astype(np.float32)
            asked += 1
            if (yield tried) != label:
                edge = tried
                break
            reach /= 2
    return edge


def _found(
    x: Row, label: int, queries: int, draw: np.random.Generator
) -> Generator[Row, int, tuple[Row, int]]:
    """A row of another class, drawn as often as it takes, and how many were asked."""
    asked = 0
    while True:
        start = draw.random(len(x), np.float32)
        asked += 1
        if (yield start) != label or asked > queries:
            return start, asked


def _nearer(x: Row, label: int, edge: Row) -> Generator[Row, int, tuple[Row, float]]:
    """The row of another class that lies nearest on the way to x, and how far from it: along each
    element's distance, as the L-infinity norm has it.
    """
    low, high = 0.0, float(np.abs(edge - x).max())
    for _ in range(_BINARY_STEPS):
        middle = (low + high) / 2
        tried = np.clip(edge, x - middle, x + middle).astype(np.float32)
        if (yield tried) != label:
            high, edge = middle, tried
        else:
            low = middle
    return edge, high


def jacobian_augmentation(
    seeds: Row, step: float, rounds: int, sign: Callable[[Row], Row]
) -> Iterator[Row]:
    """The rows of an extraction: seeds [n, d], then all so far moved by `step` along `sign` (rows
    to the signs of their gradient), over and over.
    """
    known = seeds
    yield from known
    for _ in range(rounds):
        moved = np.clip(known + step * sign(known), 0, 1).astype(np.float32)
        yield from moved
        known = np.concatenate([known, moved])
