"""Searches for an adversarial row by queries: each asks with a row and is sent a reply."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from publishing.attacks.query_attacks import hop_skip_jump, square

Row = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a caller: the class, or None where the row was refused; and the logits [C],
    where they may have them.
    """

    label: int | None
    logits: Row | None = None


Search: TypeAlias = Generator[Row, Reply, None]
"""Asks with rows until it is told another class within its size, or gives up."""


def of_labels(asking: Generator[Row, int, Row], label: int) -> Search:
    """A search that takes classes alone; a refused row tells it that nothing was won."""
    row = next(asking)
    while True:
        reply = yield row
        try:
            row = asking.send(label if reply.label is None else reply.label)
        except StopIteration:
            return


def sim_ba(x: Row, label: int, eps: float, draw: np.random.Generator) -> Search:
    """SimBA (Guo et al., arXiv 1905.07121): one element up or down by `eps`, kept where the scores
    fall; with classes alone it keeps nothing. It goes round the elements until nothing falls.
    """
    best, score = x, np.inf
    while True:
        before = score
        for at in draw.permutation(len(x)):
            for step in (-eps, eps):
                tried = best.copy()
                tried[at] = np.clip(tried[at] + step, max(0, x[at] - eps), min(1, x[at] + eps))
                reply = yield tried
                if reply.logits is not None and (found := _margin(reply.logits, label)) < score:
                    best, score = tried, found
                    break
        if not score < before:
            return


def _margin(logits: Row, label: int) -> float:
    return float(logits[label] - np.delete(logits, label).max())


def sparse(x: Row, changed: int, draw: np.random.Generator) -> Search:
    """So many elements at random, each time others, to values at random: needs the class alone."""
    while True:
        moved = x.copy()
        moved[draw.choice(len(x), changed, replace=False)] = draw.random(changed)
        yield moved


Maker = Callable[[Row, int, float, np.random.Generator], Search]
SEARCHES: dict[str, Maker] = {
    "SimBA": sim_ba,
    "6 random elements": lambda x, _, __, draw: sparse(x, 6, draw),
    "8 random elements": lambda x, _, __, draw: sparse(x, 8, draw),
    "Square": lambda x, y, eps, draw: of_labels(square(x, y, eps, 5000, 0.05, draw), y),
    "HopSkipJump": lambda x, y, eps, draw: of_labels(hop_skip_jump(x, y, eps, 5000, draw), y),
}
SPARSE = ("6 random elements", "8 random elements")
"""These may change an element by any amount."""
