"""`sealgate audit export`: writes the auditor's pack."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from sealgate.cli.audit.verify import NOT_ALL_SEEN, elsewhere_option
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_fields
from sealgate.pack.export import Pack, export_pack


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
