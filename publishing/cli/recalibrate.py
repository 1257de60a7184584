"""`sealgate screen recalibrate`: publishes a version whose thresholds rest on recent traffic."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from inference.engine import version_contents
from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder, without_repeats
from publishing.cli.options import worker_options
from publishing.cli.publish import PublishOptions, release
from publishing.cli.screen import fetch
from publishing.evidence.signing import check_made_from
from publishing.source.folder import Dataset, SourceFolder
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option
from sealgate.remote.uploads import PARALLEL
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


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
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Publish the model in FOLDER anew, with thresholds set on traffic of an earlier version.

    FOLDER and --data must be what that version was made from. All of its traffic counts, what was
    refused too, but rows that came again count once. Before you do this, know why it changed:
    attacks among the traffic raise the thresholds. The report says how much of it was flagged, how
    few hostile rows would set the thresholds, and what both versions catch. What comes out is a
    version like any other: it is proposed, approved and promoted.
    """
    person, dataset = profile(ctx, "publisher"), Dataset.read(data)
    signed, files = fetch(person, model, from_version)
    with connected(person) as channel:
        registry, policies = RegistryServiceStub(channel), policy_history(person, channel)
        check_made_from(registry, signed, policies, SourceFolder.read(folder), dataset)
    earlier = Detector.decode(files[version_contents.DETECTOR])
    kept = TrafficFolder(features, days, rows_a_day=1)
    vectors = kept.read(signed.manifest.digest, earlier.width, datetime.now(UTC).date())
    traffic = without_repeats(earlier, vectors)
    click.echo(
        f"{len(vectors)} requests of {model} {from_version}, {len(traffic)} of them distinct",
        err=True,
    )
    dataset = replace(dataset, traffic=traffic, vectors=len(vectors), earlier=earlier)
    release(ctx, folder, dataset, bounds, PublishOptions(unmarked=True), PARALLEL, as_json)
