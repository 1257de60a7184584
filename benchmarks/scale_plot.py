"""Draws what `make bench NAME=scale` found."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_BLUE, _ORANGE = "#084594", "#e6550d"


def draw(gateway: list[dict[str, Any]], fleets: list[dict[str, Any]], path: Path) -> None:
    """Two panels: one gateway's time by its load, and one registry's by how many follow it."""
    figure, (times, reach) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    loads = [100 * row["load"] for row in gateway]
    times.plot(loads, [row["p50_ms"] for row in gateway], "o-", color=_BLUE, label="p50")
    times.plot(loads, [row["p99_ms"] for row in gateway], "o-", color=_ORANGE, label="p99")
    times.set_title("one gateway, simulated: ms a request", fontsize="medium", loc="left")
    times.set_xlabel("% of its capacity")
    for name, color, label in (
        ("write_p99_ms", _BLUE, "p99 of an anchor, its turn included"),
        ("reach_ms", _ORANGE, "until the last gateway has looked"),
    ):
        known = [row for row in fleets if row[name] is not None]
        sizes = [row["gateways"] for row in known]
        reach.plot(sizes, [row[name] for row in known], "o-", color=color, label=label)
    broken = [row["gateways"] for row in fleets if row["reach_ms"] is None]
    if broken:
        reach.axvspan(min(broken), max(broken), color="#eeeeee", zorder=0)
        reach.annotate(
            "more looks than\nit can answer",
            (min(broken) * 1.15, 0.3),
            fontsize="small",
            xycoords=("data", "axes fraction"),
        )
    reach.set_xscale("log")
    reach.set_title("one registry, simulated: ms (log scale)", fontsize="medium", loc="left")
    reach.set_xlabel("gateways")
    reach.set_yscale("log")
    reach.yaxis.set_major_formatter("{x:g}")
    reach.xaxis.set_major_formatter("{x:g}")
    for axis in (times, reach):
        axis.legend(fontsize="small", frameon=False, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", linewidth=0.4)
    times.set_ylim(bottom=0)
    reach.set_ylim(1, 3000)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
