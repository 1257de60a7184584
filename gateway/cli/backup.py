"""`sealgate backup`: a consistent copy of databases and artifacts, beside a gateway at work."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from sqlalchemy.engine import URL, make_url

from gateway.cli.serve import config_option, read_config
from gateway.config.document import GatewayConfig
from gateway.timestamps import TimestampStore
from registry.audit import file_of
from registry.log.rows import ANSWERS, newest_checkpoint
from registry.state.schema import LOG
from registry.storage import copies, revisions
from registry.storage.database import Database
from sealgate.cli.output import json_option, show_fields
from sealgate.files import file_digest, replace_file
from sealgate.settings import ConfigError
from sealgate.trust.times import format_time

TYPE = "sealgate/backup/v1"
MANIFEST = "backup.json"
DATABASES = ("registry", "subjects", "answers")
SUBJECTS = "subjects"
ARTIFACTS = "artifacts"
TIMESTAMPS = "timestamps"
_LOGS = {"registry": LOG, "answers": ANSWERS}


@click.command(
    epilog="""
\b
Examples:
  sealgate backup /srv/backups/2026-11-29
  sealgate backup /srv/backups/monday --subjects /srv/subjects/monday
"""
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--subjects",
    type=click.Path(path_type=Path),
    help="Another new folder for the database of subjects, whose keys an erasure cannot reach in "
    "copies: keep it apart, and only for a short time.",
)
@click.option(
    "--artifacts/--no-artifacts",
    "with_artifacts",
    default=True,
    show_default=True,
    help="Copy the models' files too.",
)
@config_option
@json_option
@click.pass_context
def backup(
    ctx: click.Context,
    folder: Path,
    subjects: Path | None,
    with_artifacts: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Copy this gateway's three databases, the artifacts and time stamps to the new FOLDER.

    The copies show one moment; the gateway goes on meanwhile. Private keys and the files that
    remember the newest state (`seen…`) are not copied: keep both elsewhere. Databases on PostgreSQL
    and artifacts in a bucket are copied with their own tools.
    """
    settings = read_config(ctx, config)
    sources = sqlite_files(settings, dump_command)
    apart = subjects or folder
    for place in {folder, apart}:
        if place.exists() and any(place.iterdir()):
            raise click.ClickException(f"{place} is not empty: name a new folder")
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with progress_bar(not as_json) as bar:
        copies.copy_databases(sources, _places(folder, apart), bar.move)
        count = 0
        store = settings.registry.artifacts
        if with_artifacts and isinstance(store, Path):
            count = copies.copy_artifacts(store, folder / ARTIFACTS, bar.move)
        TimestampStore.of(settings.timestamps, settings.trust.seen).copy_to(folder / TIMESTAMPS)
    manifest = _manifest(folder, apart, count)
    replace_file(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
    shown = {name: f"{each['size']} bytes" for name, each in manifest["databases"].items()}
    logs = {f"{name} log": f"{each['entries']} entries" for name, each in manifest["logs"].items()}
    text = {"backup": str(folder), **shown, **logs, "artifacts": f"{count} files"}
    if with_artifacts and not isinstance(store, Path):
        text["artifacts"] = f"not copied: {store} is a bucket"
    show_fields(manifest if as_json else text, as_json)


def dump_command(name: str, schema: str, url: str) -> str:
    """The command that copies a database on PostgreSQL: one schema, for others may be in the same
    place.
    """
    return f"pg_dump --format=custom --schema={schema} --file={name}.dump {shlex.quote(url)}"


def sqlite_files(
    settings: GatewayConfig, command: Callable[[str, str, str], str]
) -> dict[str, Path]:
    """The files of the databases, the registry's first.

    Raises ConfigError for PostgreSQL, with the `command` for the name, the schema and the URL of
    each database.
    """
    places = {
        "registry": settings.registry.database,
        SUBJECTS: settings.answers.subjects,
        "answers": settings.answers.database,
    }
    files = {name: file_of(place) for name, place in places.items()}
    served = [name for name, file in files.items() if file is None]
    if served:
        found = [(name, *_libpq(name, str(places[name]))) for name in served]
        commands = "".join(f"\n  {command(*each)}" for each in found)
        raise ConfigError(
            f"{', '.join(served)} on PostgreSQL: this command works with SQLite. Stop the gateway "
            f"and run (docs/how-to/restore.md):{commands}"
        )
    return {name: file for name, file in files.items() if file is not None}


def _libpq(name: str, place: str) -> tuple[str, str]:
    """A database's schema, and its URL as PostgreSQL's own programs read it, without a password."""
    url = make_url(place)
    query = url.difference_update_query(["schema"]).query
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return str(url.query.get("schema", name)), bare.render_as_string()


def _places(folder: Path, apart: Path) -> dict[str, Path]:
    """The file of each database in a backup. That of subjects is written nowhere but apart."""
    return {name: (apart if name == SUBJECTS else folder) / f"{name}.db" for name in DATABASES}


def _manifest(folder: Path, apart: Path, artifacts: int) -> dict[str, Any]:
    databases, logs = {}, {}
    places = _places(folder, apart)
    for name in DATABASES:
        path = places[name]
        database = Database.open_unchanged(path, name)
        try:
            with database.reading() as connection:
                revision = revisions.current(connection)
                newest = newest_checkpoint(connection, _LOGS[name]) if name in _LOGS else None
        finally:
            database.close()
        if newest is not None:
            logs[name] = {"entries": newest.size, "checkpoint": newest.note}
        # Of the file as it was closed: opening it may have changed its header.
        databases[name] = {
            "sha256": file_digest(path),
            "size": path.stat().st_size,
            "revision": revision,
        }
    return {
        "type": TYPE,
        "release": version("sealgate"),
        "time": format_time(datetime.now(UTC)),
        "databases": databases,
        "logs": logs,
        "artifacts": artifacts,
    }


@dataclass(slots=True)
class ProgressBar:
    """A bar for what is copied, on a terminal."""

    progress: Progress
    tasks: dict[str, TaskID]

    def move(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what)
        self.progress.update(self.tasks[what], completed=done, total=total)


@contextmanager
def progress_bar(wanted: bool) -> Iterator[ProgressBar]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    disabled = not wanted or not console.is_terminal
    with Progress(*columns, transient=True, disable=disabled, console=console) as progress:
        yield ProgressBar(progress, {})
