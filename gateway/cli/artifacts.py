"""`sealgate artifacts`: looking after the files of the configured artifact store."""

import getpass
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from gateway.cli.serve import config_option, read_config
from gateway.config.opening import open_artifacts, open_log_key, opening
from registry.state.unit_of_work import Ledger
from registry.storage.database import Database
from registry.uploads import Collector, Spool, sweep
from sealgate.cli.output import HelpfulGroup, json_option, show_fields


@click.group("artifacts", cls=HelpfulGroup)
def artifacts() -> None:
    """Look after the artifact store, on a machine that may write the registry's database."""


@artifacts.command(
    epilog="\b\nExamples:\n  sealgate artifacts collect --dry-run\n"
    "  sealgate artifacts collect --older-than 168"
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--older-than",
    type=click.FloatRange(1, 24 * 366),
    default=24.0,
    show_default=True,
    help="Leave what was put in these last HOURS; longer than any upload takes.",
    metavar="HOURS",
)
@config_option
@json_option
@click.pass_context
def collect(
    ctx: click.Context, dry_run: bool, older_than: float, config: Path | None, as_json: bool
) -> None:
    """Remove old files that no registered version names, and what broken uploads left.

    The gateway may run meanwhile: its uploads lose nothing. Removals are recorded in the
    registry's log, in the name of operator:USER, the account that runs this.
    """
    before = datetime.now(UTC) - timedelta(hours=older_than)
    places = read_config(ctx, config).registry
    store = open_artifacts(places)
    with opening("[registry] database", places.database):
        database = Database.open(places.database, "registry")
    with closing(database):
        signer = open_log_key(places)
        ledger = Ledger.join(database, places.origin, signer, lambda: datetime.now(UTC))
        collector = Collector(ledger, store, f"operator:{getpass.getuser()}")
        found = collector.collect(before, dry_run=dry_run)
    with opening("[registry] uploads", places.uploads):
        spool = Spool(places.uploads)
    with spool.locked():
        ended = sweep(spool, datetime.now(UTC), dry_run=dry_run)
    values = {
        "removed": not dry_run,
        "files": [file.digest for file in found.files],
        "bytes": sum(file.size for file in found.files),
        "leftovers": found.leftovers + ended,
    }
    if not as_json:
        for file in found.files:
            click.echo(file.digest)
        values["files"] = len(found.files)
    show_fields(values, as_json)
