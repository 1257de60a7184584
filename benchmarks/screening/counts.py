"""How often attacks succeed and get past: shares with their intervals, by attack and by row."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from benchmarks.report import Row
from benchmarks.screening.attacks import MANY
from benchmarks.screening.families import GEOMETRIC, family
from benchmarks.screening.targets import LEAST, OURS, SMALL

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
_Z = 1.959964
FALSE_ALARMS = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Of clean test rows: what a detector finds at these rates is its ROC, beside its thresholds."""
_ANY, _CRAFTED, _NEAR = _PAST = (
    "undetected, best attack",
    "undetected, best attack but geometric",
    f"undetected, best attack within {SMALL:g}",
)


def wilson(hits: int, of: int) -> dict[str, float]:
    """A share with its 95% interval (Wilson's score)."""
    if not of:
        return {"mean": 0.0, "low": 0.0, "high": 1.0, "of": 0}
    share, z = hits / of, _Z
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    off = z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    low, high = max(0.0, middle - off), min(1.0, middle + off)
    return {"mean": round(share, 4), "low": round(low, 4), "high": round(high, 4), "of": of}


@dataclass(slots=True)
class AttackCounts:
    """An attack's rows over all seeds, and by detector how the successful ones were judged; of
    those within an attack's size, [all, suspect].
    """

    attacked: int = 0
    successes: int = 0
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    suspect: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    aurocs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    roc: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    near: list[int] = field(default_factory=lambda: [0, 0])

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        whole = cls()
        for part in parts:
            whole.attacked += part.attacked
            whole.successes += part.successes
            whole.near = [mine + more for mine, more in zip(whole.near, part.near, strict=True)]
            for name in part.refused:
                whole.refused[name] += part.refused[name]
                whole.suspect[name] += part.suspect[name]
                whole.aurocs[name] += part.aurocs[name]
                whole.roc[name] += part.roc[name]
        return whole

    def row(self, attack: str) -> Row:
        found: Row = {"attack": attack, "family": family(attack), "attacked": self.attacked}
        found["succeeded"] = self.successes
        found["within the size"] = wilson(self.near[1], self.near[0])
        if self.successes < LEAST:
            return found | {"measured": "not measured"}
        of, refused, roc = self.successes, self.refused[OURS], self.roc.items()
        return found | {
            "undetected": wilson(of - refused, self.attacked),
            "refused": wilson(refused, of),
            "refused or suspect": wilson(self.suspect[OURS], of),
            "auroc": {n: round(float(np.mean(each)), 4) for n, each in self.aurocs.items()},
            "found at": {
                f"{rate:.1%}": {n: round(float(np.mean(each, axis=0)[at]), 4) for n, each in roc}
                for at, rate in enumerate(FALSE_ALARMS)
            },
            "refused by": {n: round(hits / of, 4) for n, hits in self.refused.items()},
            "refused or suspect by": {n: round(hits / of, 4) for n, hits in self.suspect.items()},
        }


def found_at(clean: Floats, scores: Floats) -> list[float]:
    """The share of scores above all but each of `FALSE_ALARMS` of the clean ones."""
    limits = np.quantile(clean, 1 - np.array(FALSE_ALARMS))
    shares: list[float] = (scores[:, None] > limits).mean(axis=0).tolist()
    return shares


class BestAttacks:
    """Which rows get past by any attack, by what counts as one. Rows that no attack was given,
    because there are more than `MANY`, are none of them.
    """

    def __init__(self, rows: int) -> None:
        self.past = {name: np.zeros(min(rows, MANY), np.bool_) for name in _PAST}

    def add(self, places: npt.NDArray[np.intp], sizes: Floats, kind: str) -> None:
        """The places [m] of rows that an attack of that kind got past with, moved by `sizes`."""
        self.past[_ANY][places] = True
        if kind != GEOMETRIC:
            self.past[_CRAFTED][places] = True
        self.past[_NEAR][places[sizes <= SMALL + 1e-6]] = True
