"""`sealgate audit rebuild`: replays the registry's log and compares it with the database."""

import itertools
from contextlib import closing
from pathlib import Path

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from registry.audit.rebuild import Rebuild
from registry.storage.database import Database
from sealgate.cli.context import newest, profile, read_chain
from sealgate.cli.options import policy_option
from sealgate.cli.output import json_option, show_fields, show_rows

_COLUMNS = ("table", "key", "edit", "column", "log", "database")


@click.command(
    epilog="""
\b
Examples:
  sealgate audit rebuild --database state/registry.db
  sealgate audit rebuild --database postgresql://auditor@db.internal/house --json
"""
)
@click.option(
    "--database",
    required=True,
    help="The registry's: the path of a SQLite file, or a URL as in gateway.toml.",
)
@policy_option
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="How many differences at most.",
)
@json_option
@click.pass_context
def rebuild(
    ctx: click.Context, database: str, policies: tuple[Path, ...], limit: int, as_json: bool
) -> None:
    """Replay the registry from its signed log, and show where the database says something else.

    Every edit is named: table, row, column, what the log says and what the database says. The log's
    key comes from the policy kept on this machine, under the pinned root keys, and nothing is
    written. The exit status is 1 where they differ.
    """
    person = profile(ctx, "auditor")
    policy = newest(read_chain(ctx, policies), person)
    opened = Database.open_unchanged(_place(database), "registry")
    with closing(opened), opened.reading() as connection:
        comparison = Rebuild(connection, policy)
        found = list(itertools.islice(comparison.differences(), limit + 1))
    rows = [
        {
            "table": d.table,
            "key": d.key,
            "edit": d.edit.value,
            "column": d.column,
            "log": d.log,
            "database": d.database,
        }
        for d in found[:limit]
    ]
    if rows or as_json:
        show_rows(rows, _COLUMNS, as_json)
    else:
        show_fields({"entries": comparison.size, "differences": 0}, as_json)
    if len(found) > limit:
        click.echo("there are more: raise --limit", err=True)
    if found:
        ctx.exit(1)


def _place(text: str) -> str | Path:
    try:
        make_url(text)
    except ArgumentError:
        return Path(text)
    return text
