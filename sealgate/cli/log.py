"""`sealgate log`: exports logs as static files for any web server."""

import time
from contextlib import suppress
from pathlib import Path

import click
import grpc

from sealgate.audit import Auditor
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.main import PluginGroup
from sealgate.cli.options import FOLDER
from sealgate.cli.output import json_lines_option, show_line
from sealgate.pack import TileFolder, log_folder
from sealgate.reasons import Kind
from sealgate.remote import Profile, reason_of
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import open_checkpoint
from sealgate.v1.log_pb2 import GetCheckpointRequest


class LogGroup(PluginGroup):
    joined_by = "sealgate.commands.log"


@click.group(cls=LogGroup)
def log() -> None:
    """Export the logs for others to check, and prune old entries."""


@log.command(
    epilog="""
\b
Examples:
  sealgate log tiles /srv/logs             what is new since last time
  sealgate log tiles /srv/logs --follow    and what comes, every ten seconds
  python3 -m http.server --directory /srv/logs
"""
)
@click.argument("folder", type=FOLDER)
@click.option("--follow", is_flag=True, help="Continue until interrupted.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="With --follow: seconds between updates.",
)
@json_lines_option
@click.pass_context
def tiles(ctx: click.Context, folder: Path, follow: bool, every: int, as_json: bool) -> None:
    """Export every log to FOLDER as static tiles (c2sp.org/tlog-tiles), a folder for each.

    Existing tiles are checked and extended. A log that did not only grow is refused, and its files
    stay unchanged. Entries are exported as they are: those of the registry name people and models,
    those of answer logs are commitments.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel, suppress(KeyboardInterrupt):
        while True:
            try:
                for line in _grow_all(channel, person, folder):
                    show_line(line, as_json)
            except grpc.RpcError as error:
                if not follow or not _passes(error):
                    raise
                click.echo("no gateway answers; going on", err=True)
            if not follow:
                return
            time.sleep(every)


def _passes(error: grpc.RpcError) -> bool:
    """Whether it may go otherwise next time."""
    reason = reason_of(error)
    return reason is None or reason.kind is Kind.UNAVAILABLE


def _grow_all(channel: grpc.Channel, person: Profile, folder: Path) -> list[dict[str, object]]:
    """Brings every log's folder up to its newest checkpoint; tells of those that grew."""
    policy = policy_history(person, channel)[-1]
    auditor = Auditor(channel, policy)
    grown = [_grow(auditor, policy, origin, folder) for origin in auditor.origins()]
    return [line for line in grown if line["new"]]


def _grow(auditor: Auditor, policy: Policy, origin: str, folder: Path) -> dict[str, object]:
    vkey = policy.log_key(origin)
    kept = TileFolder(folder / log_folder(origin), vkey)
    note = auditor.logs.GetCheckpoint(GetCheckpointRequest(origin=origin)).note
    before, size = kept.size, open_checkpoint(note, vkey).size
    # One that has shrunk has no entries to ask for, and is refused by what is kept.
    groups = auditor.entries(origin, size, before) if size > before else iter(())
    kept.grow(note, groups)
    return {"log": origin, "entries": size, "new": size - before, "folder": log_folder(origin)}
