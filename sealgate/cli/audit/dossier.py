"""`sealgate audit dossier` and `check-dossier`: the regulator's file of a model."""

from datetime import UTC, datetime
from pathlib import Path

import click
import grpc

from sealgate.audit.reader import AuditReader
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.dossier import (
    Dossier,
    build,
    check_files,
    read_record,
    template_names,
    write_files,
)
from sealgate.dossier import template as framework
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.trust.transparency.note import Verifier


@click.command(
    epilog="\b\nExamples:\n"
    "  sealgate audit dossier digits dossier --template annex-iv --key people/admin/signing.key\n"
    "  sealgate audit dossier digits sr --template sr-26-2 --key people/admin/signing.key"
)
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--template", required=True, type=click.Choice(template_names()), help="The framework."
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who vouches for the file: a private key of the policy; default: the profile's.",
)
@json_option
@click.pass_context
def dossier(
    ctx: click.Context, model: str, folder: Path, template: str, key: Path | None, as_json: bool
) -> None:
    """Write a signed file about MODEL into the new FOLDER, ordered by a framework's headings.

    It holds inventory, model card, intended use, data, evaluation, screening and its limits,
    approvals, changes, incidents and monitoring. Every line cites the log entry that proves it, or
    says that Sealgate does not cover it. It claims no conformity with any law or standard.
    """
    if folder.exists():
        raise click.ClickException(f"{folder} exists already; name a folder that does not")
    person = profile(ctx, "auditor")
    place = key or person.signing_key
    if place is None:
        raise click.UsageError(f"the profile {person.name} names no signing_key: use --key")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        made = _made(channel, policies, model, template, format_time(datetime.now(UTC)))
    signer = open_signer(place, ask_secret)
    holder = policies[-1].holder(signer.public.keyid)
    if holder is None:
        raise SealgateError(Reason.SIGNER_MISMATCH, "the policy gives that key to nobody")
    write_files(made, folder, signer)
    _show(made, holder.name, folder, as_json)


@click.command("check-dossier", epilog="\b\nExample:\n  sealgate audit check-dossier dossier")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_context
def check_dossier(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Check the dossier in FOLDER: its signature, its pages, and every line against the log.

    The log is read again up to the size that the dossier names, and must give the same lines.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        found, signer = check_files(folder, policies)
        again = _made(channel, policies, found.model, found.template, found.time, found.size)
    if again != found:
        raise SealgateError(Reason.EVIDENCE_MISMATCH, "the log gives other lines than the dossier")
    _show(found, signer, folder, as_json)


def _made(
    channel: grpc.Channel,
    policies: tuple[Policy, ...],
    model: str,
    template: str,
    time: str,
    size: int | None = None,
) -> Dossier:
    reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC), policies)
    record = read_record(model, reader.records(), policies, size)
    log = Verifier.from_vkey(policies[-1].registry_log).name
    return build(record, framework(template), time, log)


def _show(found: Dossier, signer: str, folder: Path, as_json: bool) -> None:
    covered = sum(claim.is_covered for claim in found.claims)
    show_fields(
        {
            "model": found.model,
            "version": found.version,
            "framework": found.title,
            "signed_by": signer,
            "entries": found.size,
            "lines_with_proof": covered,
            "lines_not_covered": len(found.claims) - covered,
            "folder": str(folder),
        },
        as_json,
    )
