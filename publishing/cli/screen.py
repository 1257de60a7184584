"""`sealgate screen evaluate` and `sealgate attack`: measure a registered version's screening.

They run on the user's own machine and data.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.screening import calibration
from inference.screening.detector import Detector
from publishing.cli.options import worker_options
from publishing.evidence import signing
from publishing.worker_tasks import red_team
from registry.sandbox.confinement import Confinement
from sealgate.cli.context import connected, governance_of, policy_history, profile
from sealgate.cli.infer import read_rows
from sealgate.cli.output import ask_secret, json_option, show_fields, show_rows
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.signed_version import SignedVersion
from sealgate.trust.policy.promotion_rules import RED_TEAM
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_CONFIDENCE = 0.95
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="\b\nExample:\n  sealgate screen evaluate digits 1 rows.npy")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.argument("data", type=_FILE)
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
    The exit status is 1 where more of your rows are flagged than of rows like those it was
    calibrated on, at 95% confidence: then yours are not like these, and the version wants
    recalibration.
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
            "holds": "yes"
            if name != "clean" or _holds(shares[found], len(rows), promised.surely(limits[found]))
            else "no",
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
@click.option("--data", required=True, type=_FILE, help="Rows to attack: .npy, or .csv.")
@click.option("--victims", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--queries", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@click.option("--eps", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
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

    The version's signed files are fetched and attacked in a worker: with its gradient on every row
    of --data, and on --victims of them with --queries questions each, moving by --eps of the
    domain's width, or of each column's own range, seeing labels alone. Signed, the report is
    evidence that others can check, and --attach shows it to all who decide on the version.
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
    if person.signing_key is None:
        raise SealgateError(Reason.KEY_UNREADABLE, "the profile names no signing_key")
    (envelope,) = signing.sign_evidence(
        {RED_TEAM: report},
        signed.manifest.digest,
        person.name,
        open_signer(person.signing_key, ask_secret),
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


def _holds(share: float, rows: int, bound: float) -> bool:
    """Whether so many of so many are not too many for the bound, at 95% confidence."""
    return round(share * rows) <= rows - calibration.conformal_rank(rows, 1 - bound, _CONFIDENCE)
