"""Plots of a run: loss, accuracy and reliability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from training.data import storing
from training.steps.progress import CurvePoint

_BINS = 10
_BLUE, _GREY = "#084594", "#969696"


@dataclass(frozen=True, slots=True)
class Reliability:
    """By bin of the probability given to the answer: mean probability, accuracy, rows; and the
    expected calibration error (Guo et al., arXiv 1706.04599).
    """

    sure: tuple[float, ...]
    right: tuple[float, ...]
    rows: tuple[int, ...]
    error: float

    @classmethod
    def of(cls, told: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> "Reliability":
        """From probabilities [n, C] and classes [n]."""
        sure, right = told.max(axis=1), told.argmax(axis=1) == y
        place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
        held = [place == at for at in range(_BINS) if (place == at).any()]
        means = [(float(sure[at].mean()), float(right[at].mean()), int(at.sum())) for at in held]
        error = sum(abs(p - a) * n for p, a, n in means) / len(y)
        columns = list(zip(*means, strict=True))
        return cls(columns[0], columns[1], columns[2], error)


def draw(points: Sequence[CurvePoint], reliability: Reliability | None, folder: Path) -> None:
    """Write `loss.svg`, `accuracy.svg` and, where it is known, `reliability.svg`."""
    offsets = _offsets(points)
    _figure(folder / "loss.svg", lambda axis: _loss(axis, points, offsets))
    _figure(folder / "accuracy.svg", lambda axis: _accuracy(axis, points, offsets))
    if reliability is not None:
        _figure(folder / "reliability.svg", lambda axis: _reliability(axis, reliability))


def _figure(path: Path, fill: object) -> None:
    figure, axis = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
    fill(axis)  # type: ignore[operator]
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(linewidth=0.4)
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _offsets(points: Sequence[CurvePoint]) -> dict[int, int]:
    """Where each step of the recipe begins on an axis that goes through all of them."""
    found, total = {}, 0
    for step in sorted({point.step for point in points}):
        found[step] = total
        total += max(point.done for point in points if point.step == step)
    return found


def _loss(axis: Axes, points: Sequence[CurvePoint], offsets: dict[int, int]) -> None:
    for step, start in offsets.items():
        mine = [point for point in points if point.step == step]
        at = [start + point.done for point in mine]
        axis.plot(at, [point.loss for point in mine], label=mine[0].kind)
    axis.set_xlabel("steps")
    axis.set_title("loss, as each step weighs it", fontsize="medium", loc="left")
    axis.legend(frameon=False, fontsize="small")


def _accuracy(axis: Axes, points: Sequence[CurvePoint], offsets: dict[int, int]) -> None:
    told = [point for point in points if point.accuracy is not None]
    at = [offsets[point.step] + point.done for point in told]
    axis.plot(at, [point.accuracy or 0.0 for point in told], "o-", color=_BLUE, markersize=3)
    axis.set_xlabel("steps")
    axis.set_title("accuracy on the slice fit", fontsize="medium", loc="left")


def _reliability(axis: Axes, found: Reliability) -> None:
    axis.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1)
    axis.plot(found.sure, found.right, "o-", color=_BLUE)
    for sure, right, rows in zip(found.sure, found.right, found.rows, strict=True):
        axis.annotate(f"{rows}", (sure, right), (4, -10), textcoords="offset points", fontsize=7)
    axis.set_xlabel("probability given to the answer (beside: rows)")
    axis.set_title(
        f"share that is right, test slice; calibration error {found.error:.3f}",
        fontsize="medium",
        loc="left",
    )


@dataclass(frozen=True, slots=True)
class RunResults:
    """`files` of the folder `model`; another file for publishing, by name; and `report.json`."""

    files: Mapping[str, bytes]
    beside: tuple[str, bytes]
    report: Mapping[str, Any]
    reliability: Reliability | None = None
