"""Draws what `make bench NAME=load` found."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw(table: list[dict[str, Any]], seconds: list[float], mb: list[float], path: Path) -> None:
    """Three panels: rates step by step, how long answers and refusals took, the memory."""
    figure, (rates, times, memory) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    places = range(len(table))
    steps = [f"{row['load']:g}x" for row in table]
    rates.plot(places, [row["offered"] for row in table], "o--", color="#969696", label="offered")
    rates.plot(places, [row["goodput"] for row in table], "o-", color="#084594", label="answered")
    rates.set_title("requests a second", fontsize="medium", loc="left")
    rates.set_ylim(bottom=0)
    times.plot(places, [row["p99_ms"] for row in table], "o-", color="#084594", label="answers")
    refused = [row["refused_p99_ms"] for row in table]
    times.plot(places, refused, "o-", color="#e6550d", label="refusals")
    times.set_title("p99, ms (log scale)", fontsize="medium", loc="left")
    times.set_yscale("log")
    times.yaxis.set_major_formatter("{x:g}")
    for axis in (rates, times):
        axis.set_xticks(list(places), steps)
        axis.set_xlabel("load, of the capacity, one step after the other")
        axis.legend(fontsize="small", frameon=False)
    memory.plot(seconds, mb, color="#084594")
    memory.set_title("memory of the gateway, MB", fontsize="medium", loc="left")
    memory.set_ylim(bottom=0)
    memory.set_xlabel("seconds")
    for axis in (rates, times, memory):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", linewidth=0.4)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
