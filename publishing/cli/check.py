"""`sealgate model check`: what publishing a model would come to, before anything is signed."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import click

from publishing.cli.options import Described, description_options, mark_options, worker_options
from publishing.evidence.measurements import VersionReport
from publishing.pipeline.files import DRAWS, MarkSettings, StepTimer, make_files
from publishing.ready.description import describe_input
from publishing.ready.reading import read_source
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark import MARK_PAYLOAD_BYTES, MARK_SECRET_BYTES, Mark, WatermarkKey
from registry.sandbox.confinement import Confinement
from sealgate.cli.options import EXISTING, EXISTING_FILE, FILE
from sealgate.cli.output import json_option, show_fields
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

_SEED = 0
_FLAGGED, _SUSPECT = "flagged", "at_least_suspect"
_BARS = ((_SUSPECT, "suspect or refused", "tab:orange"), (_FLAGGED, "refused", "tab:red"))
_WIDTH, _HEIGHT = 0.38, 0.28


@click.command(
    epilog="""
\b
Example:
  sealgate model check credit.onnx --data credit.safetensors
"""
)
@click.argument("source", type=EXISTING)
@click.option("--data", required=True, type=EXISTING_FILE, help="As for `sealgate model publish`.")
@description_options
@worker_options
@mark_options
@click.option(
    "--plot",
    type=FILE,
    help="Where to draw what attacks come to and clean rows cost, as .svg or .png (matplotlib).",
)
@json_option
def check(
    source: Path,
    data: Path,
    described: Described,
    bounds: Confinement,
    watermark_loss: float,
    allow_unmarked: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show what publishing a model would result in; nothing is signed, logged or sent.

    SOURCE is what `sealgate model publish` takes. It is prepared, marked with a key that is thrown
    away, calibrated and loaded, once in float32 and once in INT8.
    """
    dataset, description = described.read(source, data, None, bounds)
    read = read_source(source, dataset, description, bounds)
    found: dict[str, Any] = {"takes": describe_input(read)}
    optional, reports = allow_unmarked or description is not None, {}
    for quantized in (False, True):
        config = replace(read.config, quantized=quantized)
        precise = replace(read, config=config)
        told, report = _outcome(precise, dataset, bounds, watermark_loss / 100, optional)
        if report is not None:
            reports[config.arithmetic] = report.measured.screening
        found |= {f"{config.arithmetic}_{name}": value for name, value in told.items()}
    if plot is not None:
        draw_screening(reports, plot)
    show_fields(found, as_json)


def _outcome(
    source: SourceFolder, data: Dataset, bounds: Confinement, loss: float, optional: bool
) -> tuple[dict[str, Any], VersionReport | None]:
    """The result of publishing by its rules, or the reason of the refusal."""
    try:
        files, report = _made(source, data, bounds, loss, optional)
    except SealgateError as refusal:
        return {"refused": f"{refusal.reason.name}: {refusal.detail}"}, None
    accuracies = report.measured.accuracies
    mark = f"none: {report.weights} weights are too few"
    return {
        "accuracy": round(accuracies.int8, 4),
        "accuracy_lost": round(accuracies.source - accuracies.int8, 4),
        **_screening(report),
        "watermark": f"z = {report.mark.int8.z:.1f}" if report.mark else mark,
        "bytes": sum(map(len, files.values())),
    }, report


def _made(
    source: SourceFolder, data: Dataset, bounds: Confinement, loss: float, optional: bool
) -> tuple[dict[str, bytes], VersionReport]:
    """With the first of so many marks that costs no more than it may. Raises as `make_files`."""
    for left in reversed(range(DRAWS)):
        key = WatermarkKey(source.config.name, secrets.token_bytes(MARK_SECRET_BYTES))
        mark = Mark(key, secrets.token_bytes(MARK_PAYLOAD_BYTES), sha256(source.serving))
        steps = StepTimer(lambda: datetime.now(UTC), lambda step, detail: None)
        try:
            return make_files(
                source, data, MarkSettings(mark, loss, optional), _SEED, steps, bounds
            )
        except SealgateError as refusal:
            if refusal.reason is not Reason.WATERMARK_COST or not left:
                raise
    raise AssertionError("the last one returns or raises")


def _screening(report: VersionReport) -> dict[str, Any]:
    """False alarms on clean rows and under the worst benign change, and what attacks come to that
    turned an answer.
    """
    found = report.measured.screening
    turning = [each for each in found["attacks"].values() if "auroc" in each]
    told = {
        "clean_flagged": found["clean"]["flagged"],
        "benign_change_flagged": max(each["flagged"] for each in found["shifts"].values()),
        "attacks_auroc_mean": round(mean(each["auroc"] for each in turning), 4)
        if turning
        else None,
        "attacks_auroc_least": min((each["auroc"] for each in turning), default=None),
        "attacks_flagged_mean": round(mean(e["flagged"] for e in turning), 4) if turning else None,
    }
    forwards = found["stages"].get("forwards")
    if forwards:
        told["cost_in_forwards"] = forwards["staged" if found["stages"]["first_stage"] else "graph"]
    return told


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
