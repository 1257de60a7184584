"""Draws what `make bench NAME=watermark` found."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_COLORS = {"MLP": "#084594", "CNN": "#4292c6", "MiniLM": "#e6550d", "decoder": "#969696"}
_THRESHOLD = 12


def draw(table: list[dict[str, Any]], path: Path) -> None:
    """The least z over the seeds: a line an attack, a mark a model."""
    attacks = list(dict.fromkeys(row["attack"] for row in table))[::-1]
    figure, axis = plt.subplots(figsize=(9, 0.36 * len(attacks) + 1.2), layout="constrained")
    for shift, (model, color) in enumerate(_COLORS.items()):
        mine = [row for row in table if row["model"] == model]
        if not mine:
            continue
        places = [attacks.index(row["attack"]) + 0.15 * (1.5 - shift) for row in mine]
        axis.plot([row["z_least"] for row in mine], places, "o", color=color, label=model, ms=4.5)
    axis.axvline(_THRESHOLD, color="black", linewidth=0.8)
    axis.text(_THRESHOLD + 0.4, len(attacks) - 0.45, "found from here on", fontsize="small")
    axis.set_yticks(range(len(attacks)), attacks)
    axis.set_xlabel("z, the least of all keys")
    axis.set_ylim(-0.7, len(attacks))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", linewidth=0.4)
    axis.legend(fontsize="small", frameon=False, loc="lower center")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
