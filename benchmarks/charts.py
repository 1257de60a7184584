"""Draws the benchmarks' plots, all in one style. The same figures give the same SVG file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# Otherwise the names of shapes are drawn at random.
matplotlib.rcParams["svg.hashsalt"] = "sealgate"

BLUE, LIGHT, ORANGE, GRAY, SAND = "#084594", "#4292c6", "#e6550d", "#969696", "#fdae6b"


@contextmanager
def figure(path: Path, panels: int, width: float, height: float = 3.8) -> Iterator[list[Axes]]:
    """Panels side by side, saved at the end of the block; only lower and left edges are drawn."""
    made, found = plt.subplots(1, panels, figsize=(width, height), layout="constrained")
    axes: list[Axes] = [found] if panels == 1 else list(found)
    yield axes
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        if not axis.images:
            axis.grid(axis="y", linewidth=0.4)
    made.savefig(path, metadata={"Date": None})
    plt.close(made)


def line(
    axis: Axes, x: Sequence[Any], y: Sequence[Any], color: str, label: str = "", style: str = "o-"
) -> None:
    axis.plot(x, y, style, color=color, label=label)
    if label:
        axis.legend(fontsize="small", frameon=False)


def name(axis: Axes, title: str, x: str = "", log: bool = False) -> None:
    """Name a panel and its lower edge; a panel that is not logarithmic begins at nothing."""
    axis.set_title(f"{title} (log scale)" if log else title, fontsize="medium", loc="left")
    axis.set_xlabel(x)
    if log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.set_ylim(bottom=0)
