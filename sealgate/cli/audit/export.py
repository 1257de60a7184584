"""`sealgate audit export`, `dossier` and `check-dossier`: files for auditors and regulators."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from sealgate.audit import AuditReader
from sealgate.cli.audit.verify import NOT_ALL_SEEN, elsewhere_option
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.options import EXISTING_FILE, EXISTING_FOLDER
from sealgate.cli.output import ask_secret, json_option, show_fields
from sealgate.dossier import Dossier, build, check_files, read_record, template_names, write_files
from sealgate.dossier import template as framework
from sealgate.pack import Pack, export_pack
from sealgate.private_keys import open_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.trust.transparency import origin_of


@click.command(
    epilog="""
\b
Examples:
  sealgate audit export pack
  sealgate audit export pack --model digits --without-files
"""
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, help="Export only this model; may be repeated.")
@click.option(
    "--with-files/--without-files",
    default=True,
    show_default=True,
    help="Include the versions' files, or only their manifests.",
)
@elsewhere_option
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    folder: Path,
    models: tuple[str, ...],
    with_files: bool,
    elsewhere: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write to the new FOLDER everything that others need to check the record without Sealgate.

    It holds every log as static tiles, and every signed document and key. Its README lists the
    commands of other people's programs. Everything is verified while it is written; FOLDER is
    complete or not created. Logs that a policy named and this gateway does not show are listed;
    without --elsewhere for each, the exit status is 3.
    """
    if folder.exists():
        raise click.ClickException(f"{folder} exists already; name a folder that does not")
    person = profile(ctx, "auditor")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with (
        connected(person) as channel,
        Progress(*columns, transient=True, disable=not console.is_terminal, console=console) as bar,
    ):
        task = bar.add_task("")

        def move(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        pack = export_pack(
            channel,
            policy_history(person, channel),
            folder,
            datetime.now(UTC),
            models=models,
            with_files=with_files,
            progress=move,
        )
    show_fields(_shown(pack, folder, as_json), as_json)
    if set(pack.not_here) - set(elsewhere):
        ctx.exit(NOT_ALL_SEEN)


def _shown(pack: Pack, folder: Path, as_json: bool) -> dict[str, object]:
    if as_json:
        return {**asdict(pack), "pack": str(folder)}
    logs = ", ".join(f"{name} ({size})" for name, size in pack.logs.items())
    missing = [f"{origin}: {told}" for origin, told in pack.not_here.items()]
    return {
        "pack": str(folder),
        "files": pack.files,
        "models": ", ".join(pack.models),
        "logs": logs,
        "anchors": ", ".join(f"{name} ({count})" for name, count in pack.anchors.items()),
        "not_here": missing or "no log that a policy ever named is missing",
        "next": f"the commands in {folder / 'README.md'}",
    }


@click.command(
    epilog="\b\nExamples:\n"
    "  sealgate audit dossier digits new --template annex-iv --key state/people/admin/signing.key\n"
    "  sealgate audit dossier digits sr --template sr-26-2 --key state/people/admin/signing.key"
)
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--template", required=True, type=click.Choice(template_names()), help="The framework."
)
@click.option(
    "--key",
    type=EXISTING_FILE,
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
@click.argument("folder", type=EXISTING_FOLDER)
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
    log = origin_of(policies[-1].registry_log)
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
