"""Rows as callers are answered: by the INT8 graph, beside the float32 twin that screening measures.

What turns the answer is what turns the INT8 graph's. Its border runs beside the twin's, so between
both lie rows on which one of them alone is turned, and an attacker who has the model finds them: on
the way to any attack, by halving it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inference.screening.attack import Labels
from inference.screening.detector import disagreeing
from publishing import text_probe
from publishing.probe import Answers, Array, Floats, Prober

BORDER = "border"
# The attacks of either kind of prober on whose way the border is looked for.
_WAYS = ("pgd-0.2", text_probe.LEAST)


class Walker(Prober, Protocol):
    """A prober that can walk up to a border, whosever answers it is of."""

    def nearest(self, x: Array, moved: Array, answers: Answers) -> Array:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""
        ...


class Served(Protocol):
    """What answers callers."""

    def logits(self, rows: Array) -> Floats:
        """From rows [n, ...] to logits [n, C]."""
        ...


@dataclass(frozen=True, slots=True)
class ServedProber:
    """What a prober measures, with the answers of `served`. Where they are `compared`, the last
    feature says where both disagree. `border`: whether attacks end with one that turns the served
    answer alone.
    """

    prober: Walker
    served: Served
    compared: bool = True
    border: bool = False

    def measure(self, x: Array) -> tuple[Floats, Floats]:
        """Return the served logits [n, C] and features [n, F] of rows x."""
        twin, features = self.prober.measure(x)
        logits = self.served.logits(x)
        if not self.compared:
            return logits, features
        column = disagreeing(logits, twin)[:, np.newaxis]
        return logits, np.concatenate([features, column], axis=1)

    def answers(self, x: Array) -> Labels:
        """Return the served classes [n] of rows x."""
        return np.asarray(self.served.logits(x).argmax(axis=1), np.int64)

    def shifts(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each benign change and the rows x under it."""
        return self.prober.shifts(x, generator)

    def attacks(self, x: Array, generator: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        moved = None
        for name, rows in self.prober.attacks(x, generator):
            if name in _WAYS:
                moved = rows
            yield name, rows
        if self.border and moved is not None:
            yield BORDER, self._alone(x, moved)

    def _alone(self, x: Array, moved: Array) -> Array:
        """Where the served answer turns on the way to `moved`, if the twin's has not; else x."""
        rows = self.prober.nearest(x, moved, self.answers)
        alone = self.answers(rows) != self.answers(x)
        alone &= self.prober.answers(rows) == self.prober.answers(x)
        return np.where(alone.reshape(-1, *[1] * (x.ndim - 1)), rows, x)
