"""Honest sessions: as they come, and as they are hard to tell from an attack's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.stateful.callers import Judged, judged
from benchmarks.subjects import Guarded, Rows
from gateway.sessions.query_attack_detection import CallerSession

LENGTH = 80
_FRAMES = 10

Draw = np.random.Generator
Classes = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HonestKind:
    """Sessions made of `scenes` rows each by `make`, which keeps the order of classes: it repeats
    each row as often as `each` says.
    """

    name: str
    scenes: int
    each: int
    make: Callable[[Rows, Draw], Rows]


def _brighter(x: Rows, draw: Draw) -> Rows:
    return np.clip(x + 0.1, 0, 1).astype(np.float32)


def _turned(x: Rows, draw: Draw) -> Rows:
    """Fed askew, by five degrees."""
    return _moved(x, draw, 0, 5, always=True)


def _scanned_twice(x: Rows, draw: Draw) -> Rows:
    """One sheet in fifty again, with the noise of the scanner and up to a tenth of a pixel off."""
    again = draw.permutation(len(x))[: max(1, len(x) // 50)]
    rows = np.array(x)
    places = (again + 1) % len(x)
    rows[places] = _moved(x[again], draw, 0.1, 0)
    noise = draw.normal(0, 0.01, (len(again), x.shape[1]))
    rows[places] = np.clip(rows[places] + noise, 0, 1)
    return rows.astype(np.float32)


def _retried(x: Rows, draw: Draw) -> Rows:
    """Some sent again as they are."""
    return np.repeat(x, draw.choice([1, 1, 1, 2, 3], len(x)), axis=0)[: len(x)]


def kinds() -> tuple[HonestKind, ...]:
    return (
        HonestKind("as they come", LENGTH, 1, lambda x, _: x),
        HonestKind("retries", LENGTH, 1, _retried),
        HonestKind("sorted by likeness", LENGTH, 1, _sorted),
        HonestKind("2% of sheets scanned twice", LENGTH, 1, _scanned_twice),
        HonestKind("brighter by .1", LENGTH, 1, _brighter),
        HonestKind("fed askew by 5 degrees", LENGTH, 1, _turned),
        HonestKind("frames", LENGTH // _FRAMES, _FRAMES, _frames),
        HonestKind("trembling frames", LENGTH // _FRAMES, _FRAMES, _trembling),
        HonestKind("augmented", LENGTH // 4, 4, _grown),
    )


def honest_row(
    name: str, guarded: Guarded, x: Rows, y: Classes, kind: HonestKind, sessions: int, seed: int
) -> dict[str, Any]:
    """Sessions of rows x [n, d] of classes y, each in as few sessions as may be."""
    draw = np.random.default_rng(seed)
    counts = _Counts()
    order: list[int] = []
    for _ in range(sessions):
        if len(order) < kind.scenes:
            order = draw.permutation(len(x)).tolist()
        scenes, order = order[: kind.scenes], order[kind.scenes :]
        rows = kind.make(x[scenes], draw)
        true = np.repeat(y[scenes], kind.each) if kind.each > 1 else None
        counts.take(judged(guarded, rows), true)
    independent = sessions * kind.scenes <= len(x)
    return {"honest": f"{name}, {kind.name}", "sessions": sessions, "rows_each": LENGTH} | {
        "independent": independent,
        **counts.row(sessions),
    }


class _Counts:
    def __init__(self) -> None:
        self.refused = self.searches = self.extractions = self.turned = 0
        self.rows = self.anchored = self.other = 0
        self.adversarial = self.own_right = self.told_right = self.known = 0

    def take(self, rows: list[Judged], true: Classes | None) -> None:
        session = CallerSession()
        labels = [int(each.logits.argmax()) for each in rows]
        found = [
            session.add(each.given, label, each.payoff, each.told)
            for each, label in zip(rows, labels, strict=True)
        ]
        search = any(each.search for each in found)
        extraction = any(each.extraction for each in found)
        self.refused += search or extraction
        self.searches, self.extractions = self.searches + search, self.extractions + extraction
        self.turned += any(each.turned for each in found)
        self.rows += len(rows)
        self.anchored += sum(each.anchor is not None for each in found)
        self.other += sum(each.turned for each in found)
        self.adversarial += sum(each.verdict == "adversarial" for each in rows)
        if true is not None:
            told = [
                label if each.anchor is None else each.anchor
                for each, label in zip(found, labels, strict=True)
            ]
            self.known += len(rows)
            self.own_right += int((np.array(labels) == true).sum())
            self.told_right += int((np.array(told) == true).sum())

    def row(self, sessions: int) -> dict[str, Any]:
        known = max(self.known, 1)
        return {
            "refused_with_block": self.refused / sessions,
            "searches": self.searches,
            "extractions": self.extractions,
            "alerted": self.turned / sessions,
            "rows_answered_as_their_anchor": self.anchored / self.rows,
            "of_another_class": self.other / self.rows,
            "rows_refused_by_verdict": self.adversarial / self.rows,
            "right_by_own_class": self.own_right / known if self.known else None,
            "right_as_answered": self.told_right / known if self.known else None,
        }


def _sorted(x: Rows, draw: Draw) -> Rows:
    """Each after that which it is likest."""
    left, found = list(range(1, len(x))), [0]
    while left:
        nearest = int(((x[left] - x[found[-1]]) ** 2).sum(axis=1).argmin())
        found.append(left.pop(nearest))
    return x[found]


def _frames(x: Rows, draw: Draw) -> Rows:
    """The noise of a sensor, and light that wavers."""
    rows = np.repeat(x, _FRAMES, axis=0)
    moved = rows + draw.normal(0, 0.02, rows.shape) + draw.uniform(-0.03, 0.03, (len(rows), 1))
    return np.clip(moved, 0, 1).astype(np.float32)


def _trembling(x: Rows, draw: Draw) -> Rows:
    """And up to a third of a pixel that way or this."""
    rows = _moved(np.repeat(x, _FRAMES, axis=0), draw, 0.3, 0)
    return np.clip(rows + draw.normal(0, 0.02, rows.shape), 0, 1).astype(np.float32)


def _grown(x: Rows, draw: Draw) -> Rows:
    """Each image, shifted by up to a pixel, turned by up to ten degrees, and lit otherwise."""
    lit = x * draw.uniform(0.8, 1.1, (len(x), 1)) + draw.normal(0, 0.03, x.shape)
    grown = (x, _moved(x, draw, 1, 0), _moved(x, draw, 0, 10), np.clip(lit, 0, 1))
    return np.stack(grown, axis=1).reshape(4 * len(x), -1).astype(np.float32)


def _moved(rows: Rows, draw: Draw, pixels: float, degrees: float, always: bool = False) -> Rows:
    side = int(np.sqrt(rows.shape[1]))
    moved = [
        ndimage.rotate(
            ndimage.shift(image, draw.uniform(-pixels, pixels, 2), order=1),
            degrees if always else draw.uniform(-degrees, degrees),
            reshape=False,
            order=1,
        )
        for image in rows.reshape(-1, side, side)
    ]
    return np.clip(np.array(moved), 0, 1).astype(np.float32).reshape(len(rows), -1)
