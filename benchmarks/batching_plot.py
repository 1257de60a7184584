"""Draws what `make bench NAME=batching` found."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_COLORS = {
    "adaptive": "#084594",
    "no delay": "#4292c6",
    "fixed delay": "#e6550d",
    "none": "#969696",
}
_FIGURES = {"mean_ms": "mean", "p50_ms": "p50", "p99_ms": "p99"}


def draw(table: list[dict[str, Any]], path: Path) -> None:
    """One panel for each of mean, p50 and p99: milliseconds over the load, a line a policy."""
    figure, axes = plt.subplots(1, len(_FIGURES), figsize=(12, 3.8), layout="constrained")
    for axis, (key, name) in zip(axes, _FIGURES.items(), strict=True):
        for policy, color in _COLORS.items():
            mine = [row for row in table if row["policy"] == policy]
            loads = [100 * row["load"] for row in mine]
            label = "none (batch 1)" if policy == "none" else policy
            axis.plot(loads, [row[key] for row in mine], "o-", color=color, label=label)
        axis.set_title(f"{name} latency, ms (log scale)", fontsize="medium", loc="left")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set_xticks(sorted({100 * row["load"] for row in table}))
        axis.set_xlabel("load, % of unbatched capacity")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", linewidth=0.4, which="both")
    axes[0].legend(fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
