"""Draws what screening comes to, for `sealgate model check --plot`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_FLAGGED, _SUSPECT = "flagged", "at_least_suspect"
_BARS = ((_SUSPECT, "suspect or refused", "tab:orange"), (_FLAGGED, "refused", "tab:red"))
_WIDTH, _HEIGHT = 0.38, 0.28


def draw_screening(reports: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A panel for each screening report, by its arithmetic: of clean rows, benign changes and
    attacks that turned an answer, the shares that are suspect and refused.

    Raises click.UsageError where matplotlib is missing, or the name ends otherwise than in .svg or
    .png.
    """
    if path.suffix not in (".svg", ".png"):
        raise click.UsageError("--plot names an .svg or a .png file")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise click.UsageError("--plot needs the package matplotlib") from error
    rows = max((len(_shares(report)) for report in reports.values()), default=1)
    figure = Figure(figsize=(5 * max(1, len(reports)), 1.5 + _HEIGHT * rows), layout="constrained")
    for place, (arithmetic, report) in enumerate(reports.items(), 1):
        axis, shares = figure.add_subplot(1, len(reports), place), _shares(report)
        at = range(len(shares))
        for order, (name, words, colour) in enumerate(_BARS):
            values = [each[name] for each in shares.values()]
            axis.barh([y + order * _WIDTH for y in at], values, _WIDTH, color=colour, label=words)
        axis.set_yticks([y + _WIDTH / 2 for y in at], list(shares))
        axis.invert_yaxis()
        axis.set(xlim=(0, 1), xlabel="share of rows", title=f"answers in {arithmetic}")
    if reports:
        # Once, and beside the bars, of which any may be long.
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(_BARS), frameon=False)
    # Without a date and random names, so that the same figures give the same file.
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _shares(report: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """By what was measured: of attacks, those that turned an answer."""
    benign = {f"benign: {name}": found for name, found in report["shifts"].items()}
    attacks = {name: found for name, found in report["attacks"].items() if _FLAGGED in found}
    return {"clean": report["clean"], **benign, **attacks}
