"""Draws what gets past screening: of all rows attacked, those turned and not found adversarial."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.screening.measures import WORST

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

_KNOWING = "who knows everything"
_HEADS = {_KNOWING: _KNOWING, WORST: "worst of those below, row by row"}
_INCH = 0.3
_BLACK_UP_TO = 0.55
_WIDEST = 9
Row = dict[str, Any]


def draw(rows: Sequence[Row], path: Path) -> None:
    """One table for rows of numbers and one for texts; a column is a data set and its model."""
    groups = [each for each in (_of(rows, texts=False), _of(rows, texts=True)) if each]
    heights = [len(_names(each)) for each in groups]
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(
            2.8 + 0.66 * max(map(len, groups)),
            1.6 + 0.55 * len(groups) + _INCH * sum(heights),
        ),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axis, group in zip(axes[:, 0], groups, strict=True):
        _table(axis, group)
        # Columns are as wide in both.
        axis.set_xlim(-0.5, max(map(len, groups)) - 0.5)
    figure.suptitle(
        "% of attacked rows that are turned and not found adversarial", fontsize="medium"
    )
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def passed(row: Row) -> dict[str, float]:
    """By attack, the share of attacked rows that it turns and that the detector's own verdict does
    not find adversarial: of means over seeds, the share turned times the share let pass.
    """
    found = {}
    if "knowing" in row:
        found[_KNOWING] = row["knowing"]["joint_at_threshold"]["mean"]
    for name in sorted(row["attacks"], key=lambda name: name != WORST):
        attack = row["attacks"][name]
        caught = attack["flagged"]["mean"] if "flagged" in attack else 0.0
        found[name] = attack["turned"]["mean"] * (1 - caught)
    return found


def _of(rows: Sequence[Row], texts: bool) -> list[Row]:
    """Whoever knows the detector walks along its gradient, which leads to no text."""
    return [row for row in rows if ("knowing" not in row) == texts]


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in passed(row)))


def _table(axis: Axes, rows: Sequence[Row]) -> None:
    names, columns = _names(rows), [passed(row) for row in rows]
    values = np.array([[100 * each.get(name, np.nan) for each in columns] for name in names])
    axis.imshow(values, cmap="Reds", vmin=0, vmax=100, aspect="auto")
    for (at, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "white" if value > 100 * _BLACK_UP_TO else "black"
            text = f"{value:.0f}"
            axis.text(column, at, text, ha="center", va="center", color=color, fontsize="small")
    axis.set_xticks(range(len(rows)), [_head(row) for row in rows], fontsize="small")
    axis.set_yticks(range(len(names)), [_HEADS.get(name, name) for name in names], fontsize="small")
    axis.tick_params(length=0)
    axis.xaxis.tick_top()
    axis.spines[:].set_visible(False)


def _head(row: Row) -> str:
    words = (*row["data"].split(), row["model"])
    return "\n".join(word.replace("-", "-\n") if len(word) > _WIDEST else word for word in words)
