"""Draws what gets past screening: of all rows attacked, those turned and not found adversarial."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from benchmarks import charts
from benchmarks.report import Row
from benchmarks.screening.measures import WORST

_KNOWING = "who knows everything"
_HEADS = {_KNOWING: _KNOWING, WORST: "worst of those below, row by row"}
_INCH = 0.3
_BLACK_UP_TO = 0.55
_WIDEST = 9


def draw(rows: Sequence[Row], path: Path) -> None:
    """A table, whose columns are data sets with their models and whose rows are attacks."""
    columns = [passed(row) for row in rows]
    names = list(dict.fromkeys(name for each in columns for name in each))
    values = np.array([[100 * each.get(name, np.nan) for each in columns] for name in names])
    size = (2.8 + 0.66 * len(rows), 2.15 + _INCH * len(names))
    with charts.figure(path, 1, *size) as (axis,):
        _fill(axis, values)
        axis.set_xticks(range(len(rows)), [_head(row) for row in rows], fontsize="small")
        heads = [_HEADS.get(name, name) for name in names]
        axis.set_yticks(range(len(names)), heads, fontsize="small")
        axis.tick_params(length=0)
        axis.xaxis.tick_top()
        axis.spines[:].set_visible(False)
        axis.set_title("% of attacked rows turned and not found adversarial", fontsize="medium")


def _fill(axis: Axes, values: npt.NDArray[np.floating]) -> None:
    axis.imshow(values, cmap="Reds", vmin=0, vmax=100, aspect="auto")
    for (at, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if value > 100 * _BLACK_UP_TO else "black"
            axis.text(column, at, f"{value:.0f}", ha="center", va="center", color=color, size=8)


def passed(row: Row) -> dict[str, float]:
    """By attack, the share of attacked rows that it turns and that the detector's own verdict does
    not find adversarial: of means over seeds, the share turned times the share let pass.
    """
    found = {_KNOWING: row["knowing"]["joint_at_threshold"]["mean"]}
    for name in sorted(row["attacks"], key=lambda name: name != WORST):
        attack = row["attacks"][name]
        caught = attack["flagged"]["mean"] if "flagged" in attack else 0.0
        found[name] = attack["turned"]["mean"] * (1 - caught)
    return found


def _head(row: Row) -> str:
    words = (*row["data"].split(), row["model"])
    return "\n".join(word.replace("-", "-\n") if len(word) > _WIDEST else word for word in words)
