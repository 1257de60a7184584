"""`sealgate screen recalibrate`: publishes a version whose thresholds rest on recent traffic."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from inference.engine import version_contents
from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder, without_repeats
from publishing.calibration.detector_fit import LEAST_ROWS
from publishing.cli.description_options import (
    Described,
    description_options,
    precision_option,
    quantizes,
)
from publishing.cli.options import trusted_root_option, trusted_signers, worker_options
from publishing.cli.publish import PublishOptions, release
from publishing.cli.screen import fetch
from publishing.evidence.signing import check_made_from
from publishing.ready.reading import read_source
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_fields
from sealgate.reasons import Reason, SealgateError
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
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The rows that the version was published with.",
)
@description_options
@precision_option
@click.option(
    "--features",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a gateway's [features], or a copy of it.",
)
@click.option("--model", required=True, help="Whose traffic it is.")
@click.option("--from-version", required=True, type=click.IntRange(1), help="Which version's.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="The newest.")
@trusted_root_option
@worker_options
@json_option
@click.pass_context
def recalibrate(
    ctx: click.Context,
    source: Path,
    data: Path,
    described: Described,
    precision: str | None,
    features: Path,
    model: str,
    from_version: int,
    days: int,
    trusted_root: Path | None,
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Publish the model SOURCE anew, with thresholds set on traffic of an earlier version.

    SOURCE, --data and the options must be what that version was made from. All of its traffic
    counts, what was refused too, but rows that came again count once. Before you do this, know why
    it changed: attacks among the traffic raise the thresholds. The report says how much of it was
    flagged, how few hostile rows would set the thresholds, and what both versions catch. What comes
    out is a version like any other: it is proposed, approved and promoted.
    """
    person = profile(ctx, "publisher")
    dataset, description = described.read(source, data, precision, bounds)
    signed, files = fetch(person, model, from_version)
    with connected(person) as channel:
        registry, policies = RegistryServiceStub(channel), policy_history(person, channel)
        made = read_source(
            source,
            dataset,
            description,
            bounds,
            quantizes(precision),
            signers=trusted_signers(policies[-1], trusted_root),
        )
        check_made_from(registry, signed, policies, made, dataset)
    earlier = Detector.decode(files[version_contents.DETECTOR])
    kept = TrafficFolder(features, days, rows_a_day=1)
    vectors = kept.read(signed.manifest.digest, earlier.width, datetime.now(UTC).date())
    traffic = without_repeats(earlier, vectors)
    click.echo(
        f"{len(vectors)} requests of {model} {from_version}, {len(traffic)} of them distinct",
        err=True,
    )
    if len(traffic) < LEAST_ROWS:
        detail = f"{len(traffic)} distinct requests, {LEAST_ROWS} are the least"
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, detail)
    dataset = replace(dataset, traffic=traffic, vectors=len(vectors), earlier=earlier)
    wishes = PublishOptions(unmarked=True, description=description, quantized=quantizes(precision))
    show_fields(release(ctx, source, dataset, bounds, wishes, PARALLEL, made), as_json)
