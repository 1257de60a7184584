"""`sealgate screen recalibrate`: a new version whose thresholds stand on traffic."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from inference import version as version_files
from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder
from publishing.commands import Wishes, release
from publishing.data import Dataset
from publishing.screen_commands import fetch
from publishing.worker_options import confinement, worker_options
from sealgate.cli.output import json_option
from sealgate.cli.people import profile
from sealgate.uploads import PARALLEL


@click.command(
    epilog="""
\b
Example:
  sealgate screen recalibrate demo/models/digits-1 --data demo/data/digits.safetensors \\
      --features state/features --model digits --from-version 1
"""
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The fit, calibration and test slices, as the version was published with.",
)
@click.option(
    "--features",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a gateway's [features], or a copy of it.",
)
@click.option("--model", required=True, help="Whose traffic it is.")
@click.option("--from-version", required=True, type=click.IntRange(1), help="Which version's.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="The newest.")
@worker_options
@json_option
@click.pass_context
def recalibrate(
    ctx: click.Context,
    folder: Path,
    data: Path,
    features: Path,
    model: str,
    from_version: int,
    days: int,
    memory: int,
    seconds: int,
    unsafe_worker: bool,
    as_json: bool,
) -> None:
    """Publish the model in FOLDER anew, with thresholds set on traffic of an earlier version.

    All of that traffic counts, what was refused too. Before you do this, know why it changed: an
    attack that went on for long raises the thresholds by its share. What comes out is a version
    like any other: it is proposed, approved and promoted, with a report that names how many
    requests it stands on.
    """
    bounds = confinement(memory, seconds, unsafe_worker)
    signed, files = fetch(profile(ctx, "publisher"), model, from_version)
    earlier = Detector.decode(files[version_files.DETECTOR])
    kept = TrafficFolder(features, days, rows_a_day=1)
    traffic = kept.read(signed.manifest.digest, earlier.width, datetime.now(UTC).date())
    click.echo(f"{len(traffic)} requests of {model} {from_version}", err=True)
    dataset = replace(Dataset.read(data), traffic=traffic, earlier=earlier)
    release(ctx, folder, dataset, bounds, Wishes(), PARALLEL, as_json)
