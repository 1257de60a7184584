"""`sealgate screen evaluate`, `sealgate screen recalibrate` and `sealgate attack`.

They measure a registered version's screening on the user's own machine and data, and publish a
version whose thresholds rest on recent traffic.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.screening import calibration
from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder, without_repeats
from publishing.calibration import LEAST_CALIBRATION_ROWS
from publishing.cli.options import (
    Described,
    description_options,
    precision_option,
    quantizes,
    trusted_root_option,
    trusted_signers,
    worker_options,
)
from publishing.cli.publish import PublishOptions, release
from publishing.evidence import signing
from publishing.evidence.signing import check_made_from
from publishing.ready.reading import read_source
from publishing.worker_tasks import red_team
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, governance_of, policy_history, profile
from sealgate.cli.infer import read_rows
from sealgate.cli.options import EXISTING, EXISTING_FILE, EXISTING_FOLDER, FILE
from sealgate.cli.output import ask_secret, json_option, show_fields, show_rows
from sealgate.private_keys import named_key, open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.remote.uploads import PARALLEL
from sealgate.signed_version import SignedVersion
from sealgate.trust.policy import EvidenceRules
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_CONFIDENCE = 0.95


@click.command(epilog="\b\nExample:\n  sealgate screen evaluate digits 1 rows.npy")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.argument("data", type=EXISTING_FILE)
@worker_options
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    model: str,
    version: int,
    data: Path,
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Measure how often VERSION of MODEL raises false alarms on clean rows of your own.

    DATA is .npy, or .csv without a header. Each row is measured as it is, and under benign changes.
    The exit status is 1 if, at 95% confidence, more of your rows are flagged than of rows like the
    calibration rows. Your rows are then of another kind, and the version needs recalibration.
    """
    _, files = fetch(profile(ctx, "auditor"), model, version)
    rows = red_team.check_rows(ModelConfig.decode(files[version_contents.MODEL]), read_rows(data))
    report = red_team.attack(files, rows, red_team.AttackPlan(), bounds)
    promised = Detector.decode(files[version_contents.DETECTOR]).calibration
    limits = {"flagged": promised.adversarial, "at_least_suspect": promised.suspect}
    shown = [
        {
            "rows": name,
            "found": found,
            "share": shares[found],
            "bound": limits[found].bound if name == "clean" else "",
            "holds": _holds(shares[found], len(rows), promised.surely(limits[found]))
            if name == "clean"
            else "",  # Nothing is promised of changed rows.
        }
        for name, shares in {"clean": report["clean"], **report["shifts"]}.items()
        for found in limits
    ]
    show_rows(shown, ("rows", "found", "share", "bound", "holds"), as_json)
    if any(row["holds"] == "no" for row in shown):
        ctx.exit(1)


@click.command(
    epilog="""
\b
Example:
  sealgate --as approver-1 attack digits 2 --data rows.npy --attach
"""
)
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.option("--data", required=True, type=EXISTING_FILE, help="Rows to attack: .npy, or .csv.")
@click.option(
    "--victims",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="The number of rows that are attacked by queries.",
)
@click.option(
    "--queries",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="The most queries about one of these rows.",
)
@click.option(
    "--eps",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="The most by which queries move a number, as a share of its range.",
)
@click.option(
    "--output",
    type=FILE,
    help="Where to write the report, signed with your key as evidence of the version.",
)
@click.option("--attach", is_flag=True, help="Send the signed report to the registry, for good.")
@worker_options
@json_option
@click.pass_context
def attack(
    ctx: click.Context,
    model: str,
    version: int,
    data: Path,
    victims: int,
    queries: int,
    eps: float,
    output: Path | None,
    attach: bool,
    bounds: Confinement,
    as_json: bool,
) -> None:
    """Attack VERSION of MODEL before you approve it: a red team in one command.

    The version's signed files are fetched and attacked in a worker. Attacks that use its gradient
    try every row of --data. Attacks that see labels alone try --victims of them. The signed report
    is evidence that others can check; --attach shows it to everyone who decides on the version.
    """
    person = profile(ctx, "approver-1")
    signed, files = fetch(person, model, version)
    rows = red_team.check_rows(ModelConfig.decode(files[version_contents.MODEL]), read_rows(data))
    report = red_team.attack(files, rows, red_team.AttackPlan(victims, queries, eps), bounds)
    if output is not None or attach:
        _hand_on(person, signed, _sign(person, signed, report), output, attach)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    show_fields({"version": signed.name, "digest": signed.manifest.digest}, as_json)
    columns = ("attack", "succeeded", "flagged", "at_least_suspect")
    show_rows(_attacks(report), columns, as_json)


def _attacks(report: dict[str, Any]) -> list[dict[str, Any]]:
    attacks = {**report["attacks"], **report.get("queries", {})}
    # An attack that never succeeded did not have to be caught.
    return [
        {"attack": name, "flagged": "", "at_least_suspect": "", **found}
        for name, found in attacks.items()
    ]


def _sign(person: Profile, signed: SignedVersion, report: dict[str, Any]) -> bytes:
    (envelope,) = signing.sign_evidence(
        {EvidenceRules.RED_TEAM: report},
        signed.manifest.digest,
        person.name,
        open_signer(named_key(person.signing_key), ask_secret),
        datetime.now(UTC),
    )
    return envelope.encode()


def _hand_on(
    person: Profile, signed: SignedVersion, envelope: bytes, output: Path | None, attach: bool
) -> None:
    if output is not None:
        with output.open("xb") as opened:
            opened.write(envelope)
    if attach:
        _, model, _, version = signed.name.split("/")
        with connected(person) as channel:
            governance_of(person, channel).attach(model, int(version), envelope)


def fetch(person: Profile, model: str, version: int) -> tuple[SignedVersion, dict[str, bytes]]:
    """The version, and those of its files that are attacked."""
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)
        signed = SignedVersion.fetch(registry, policy_history(person, channel), model, version)
        return signed, {path: signed.file(registry, path) for path in red_team.FILES}


def _holds(share: float, rows: int, bound: float) -> str:
    """`yes`, unless so many of so many are too many for the bound, at 95% confidence."""
    most = rows - calibration.conformal_rank(rows, 1 - bound, _CONFIDENCE)
    return "yes" if round(share * rows) <= most else "no"


@click.command(
    epilog="""
\b
Example:
  sealgate screen recalibrate demo/models/digits-standard --data demo/data/digits.safetensors \\
      --features state/features --model digits --from-version 1
"""
)
@click.argument("source", type=EXISTING)
@click.option(
    "--data",
    required=True,
    type=EXISTING_FILE,
    help="The rows that the version was published with.",
)
@description_options
@precision_option
@click.option(
    "--features",
    required=True,
    type=EXISTING_FOLDER,
    help="The folder of a gateway's [features], or a copy of it.",
)
@click.option("--model", required=True, help="The model whose traffic it is.")
@click.option(
    "--from-version",
    required=True,
    type=click.IntRange(1),
    help="The version whose traffic it is.",
)
@click.option(
    "--days",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="How many days of traffic to use, the newest.",
)
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
    """Publish the model SOURCE again, with thresholds from traffic of an earlier version.

    SOURCE, --data and the options must be what that version was made from. All of its traffic
    counts, refused requests too; repeated rows count once. Find out first why the traffic changed:
    attacks among it raise the thresholds. The report says how much of it was flagged, how few
    hostile rows would set the thresholds, and what both versions catch. The result is a version
    like any other: it must be proposed, approved and promoted.
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
    traffic = _distinct(earlier, vectors, f"{model} {from_version}")
    dataset = replace(dataset, traffic=traffic, vectors=len(vectors), earlier=earlier)
    options = PublishOptions(unmarked=True, description=description, quantized=quantizes(precision))
    show_fields(release(ctx, source, dataset, bounds, options, PARALLEL, made), as_json)


def _distinct(
    earlier: Detector, vectors: npt.NDArray[np.float32], version: str
) -> npt.NDArray[np.float32]:
    """Traffic without its repeats. Raises: CALIBRATION_TOO_SMALL."""
    traffic = without_repeats(earlier, vectors)
    click.echo(f"{len(vectors)} requests of {version}, {len(traffic)} of them distinct", err=True)
    if len(traffic) < LEAST_CALIBRATION_ROWS:
        detail = f"{len(traffic)} distinct requests, {LEAST_CALIBRATION_ROWS} are the least"
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, detail)
    return traffic
