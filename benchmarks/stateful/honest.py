"""Honest sessions: as they come, and as they are hard to tell from an attack's."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.subjects import Guarded, Rows
from gateway.sessions.query_attacks import LEVEL, CallerSession

LENGTH = 80
BURSTS = ("frames", "trembling frames", "augmented")
_LONG = 250
_FRAMES = 10
_ALARMS = 3

Judged = list[tuple[int, str, float]]
Draw = np.random.Generator


def drawn_row(
    name: str, guarded: Guarded, x: Rows, sessions: int, seed: int, length: int = LENGTH
) -> dict[str, Any]:
    """Sessions of `length` of the rows x [n, d] each, in an order that is drawn, none twice."""
    draw = np.random.default_rng(seed)
    orders = (draw.permutation(len(x))[:length] for _ in range(sessions))
    return _row(name, guarded, x, orders, min(length, len(x)))


def long_row(name: str, guarded: Guarded, x: Rows, sessions: int, seed: int) -> dict[str, Any]:
    """Long enough for the test for extractions, which needs 100 distances."""
    return drawn_row(f"{name}, long", guarded, x, sessions, seed, _LONG)


def ordered_rows(
    name: str, guarded: Guarded, x: Rows, y: npt.NDArray[Any], sessions: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The same rows in orders that are not drawn: of one class alone; each after that which it is
    likest; and some sent again as they are.
    """
    draw = np.random.default_rng(seed)
    kinds: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "one class": lambda: draw.permutation(np.flatnonzero(y == draw.choice(y)))[:LENGTH],
        "sorted by likeness": lambda: _sorted(x, draw.permutation(len(x))[:LENGTH]),
        "retries": lambda: np.repeat(
            draw.permutation(len(x))[:LENGTH], draw.choice([1, 1, 1, 2, 3], LENGTH)
        )[:LENGTH],
    }
    for kind, order in kinds.items():
        orders = (order() for _ in range(sessions))
        yield _row(f"{name}, {kind}", guarded, x, orders, LENGTH)


def burst_rows(
    name: str, guarded: Guarded, x: Rows, sessions: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Near duplicates that are honest: frames of a camera that stands or trembles, and uploads of
    one image with others made of it.
    """
    draw = np.random.default_rng(seed)
    for kind, made in zip(BURSTS, (_frames, _trembling, _grown), strict=True):
        rows = np.concatenate([made(x, draw) for _ in range(sessions)])
        orders = (np.arange(n * LENGTH, (n + 1) * LENGTH) for n in range(sessions))
        yield _row(f"{name}, {kind}", guarded, rows, orders, LENGTH)


def _row(
    name: str, guarded: Guarded, x: Rows, orders: Iterator[npt.NDArray[Any]], length: int
) -> dict[str, Any]:
    prints = guarded.printer.of(x, 0, 1, guarded.alike)
    judged: Judged = [
        each for part in np.array_split(x, -(-len(x) // 500)) for each in guarded.judge(part)
    ]
    sessions = searches = extractions = either = 0
    for order in orders:
        session = CallerSession()
        found = [session.add(prints[i], judged[i][0], judged[i][2]) for i in order]
        search, extraction = (any(kind) for kind in zip(*found, strict=True))
        sessions, searches, extractions = sessions + 1, searches + search, extractions + extraction
        either += search or extraction
    return {
        "honest": name,
        "sessions": sessions,
        "rows_each": length,
        "searches": searches,
        "extractions": extractions,
        "flagged": either / sessions,
        "stated_bound": _ALARMS * length / LEVEL,
    }


def _sorted(x: Rows, order: npt.NDArray[Any]) -> npt.NDArray[Any]:
    left, found = list(order[1:]), [order[0]]
    while left:
        nearest = int(((x[left] - x[found[-1]]) ** 2).sum(axis=1).argmin())
        found.append(left.pop(nearest))
    return np.array(found)


def _scenes(x: Rows, draw: Draw, each: int) -> Rows:
    return np.repeat(x[draw.permutation(len(x))[: LENGTH // each]], each, axis=0)


def _frames(x: Rows, draw: Draw) -> Rows:
    """The noise of a sensor, and light that wavers."""
    rows = _scenes(x, draw, _FRAMES)
    moved = rows + draw.normal(0, 0.02, rows.shape) + draw.uniform(-0.03, 0.03, (len(rows), 1))
    return np.clip(moved, 0, 1).astype(np.float32)


def _trembling(x: Rows, draw: Draw) -> Rows:
    """And up to a third of a pixel that way or this."""
    rows = _moved(_scenes(x, draw, _FRAMES), draw, 0.3, 0)
    return np.clip(rows + draw.normal(0, 0.02, rows.shape), 0, 1).astype(np.float32)


def _grown(x: Rows, draw: Draw) -> Rows:
    """Each image, shifted by up to a pixel, turned by up to ten degrees, and lit otherwise."""
    rows = x[draw.permutation(len(x))[: LENGTH // 4]]
    lit = rows * draw.uniform(0.8, 1.1, (len(rows), 1)) + draw.normal(0, 0.03, rows.shape)
    grown = (rows, _moved(rows, draw, 1, 0), _moved(rows, draw, 0, 10), np.clip(lit, 0, 1))
    return np.stack(grown, axis=1).reshape(LENGTH, -1).astype(np.float32)


def _moved(rows: Rows, draw: Draw, pixels: float, degrees: float) -> Rows:
    side = int(np.sqrt(rows.shape[1]))
    moved = [
        ndimage.rotate(
            ndimage.shift(image, draw.uniform(-pixels, pixels, 2), order=1),
            draw.uniform(-degrees, degrees),
            reshape=False,
            order=1,
        )
        for image in rows.reshape(-1, side, side)
    ]
    return np.clip(np.array(moved), 0, 1).astype(np.float32).reshape(len(rows), -1)
