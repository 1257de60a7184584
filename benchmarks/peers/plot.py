"""Draws a report of `make bench NAME=serve` beside it, as SVG. Runs where matplotlib is."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

_LOADS = ("1 in flight", "16 in flight", "64 in flight")
_COLORS = ("#9ecae1", "#4292c6", "#084594")


def main():
    path = Path(sys.argv[1])
    rows = [row for row in json.loads(path.read_text())["rows"] if row["load"] in _LOADS]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(
        len(models), 2, figsize=(12, 3.6 * len(models)), squeeze=False, layout="constrained"
    )
    for model, pair in zip(models, axes, strict=True):
        mine = [row for row in rows if row["model"] == model]
        _bars(pair[0], mine, "cpu_ms", f"{model}: server CPU-ms per answer (less is better)")
        _bars(pair[1], mine, "rate", f"{model}: answers per second (more is better)")
    handles = axes[0][0].containers
    bars = [handle for handle in handles if hasattr(handle, "patches")]
    figure.legend(bars, _LOADS, loc="outside upper right", ncols=len(_LOADS), fontsize="small")
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def _bars(axis, rows, figure, title):
    names = list(dict.fromkeys(row["what"] for row in rows))
    height = 0.8 / len(_LOADS)
    for place, (load, color) in enumerate(zip(_LOADS, _COLORS, strict=True)):
        found = {row["what"]: row[figure] for row in rows if row["load"] == load}
        spots = [spot + (place - 1) * height for spot in range(len(names))]
        middles = [found[name]["median"] for name in names]
        errors = [
            [found[name]["median"] - found[name]["least"] for name in names],
            [found[name]["most"] - found[name]["median"] for name in names],
        ]
        axis.barh(spots, middles, height, xerr=errors, color=color, error_kw={"linewidth": 0.8})
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_title(title, fontsize="medium", loc="left")
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
