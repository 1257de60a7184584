"""`sealgate log prune`: old answers pruned to their hashes, beside a gateway at work."""

import getpass
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from gateway.cli.serve import config_option, read_config
from gateway.config.document import GatewayConfig
from gateway.config.opening import open_log_key, opening
from registry.answers.pruning import prune_leaves
from registry.answers.search import closed_between
from registry.audit.erasures import Prunings
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS
from registry.policy.policies import PinnedRoot, PolicyBook
from registry.state.unit_of_work import Ledger
from registry.storage.database import Database
from sealgate.cli.output import json_option, show_fields
from sealgate.files import read_regular_file
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time, parse_time
from sealgate.trust.transparency import log_vkey, origin_of
from sealgate.trust.transparency.tiles import WIDTH

_NOT_ALL = 3
"""The exit status where another answer log has entries to prune."""


@click.command(
    epilog="""
\b
Examples:
  sealgate log prune --dry-run                        all that need not be kept any more
  sealgate log prune --before 2026-01-01T00:00:00Z
  sealgate log prune --before 1000000                 the entries before that one
"""
)
@click.option("--before", help="A time (RFC 3339, UTC), or an entry; default: as far as allowed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@config_option
@json_option
@click.pass_context
def prune(
    ctx: click.Context, before: str | None, dry_run: bool, config: Path | None, as_json: bool
) -> None:
    """Remove old entries of this gateway's answer log, and what they commit to; keep their hashes.

    The gateway may run meanwhile. Every checkpoint and every proof is as before, and what was
    pruned stands in the registry's log first, in the name of operator:USER, the account that runs
    this. Entries younger than `[answers] retention_days` (184) are refused; how old an entry is at
    least, the anchors in the registry's log say. Entries go in tiles of 256. Other answer logs that
    have entries old enough are listed as left, with the exit status 3: run this on their gateways.
    """
    now = datetime.now(UTC)
    try:
        settings = read_config(ctx, config)
        with opening("[registry] database", settings.registry.database):
            registry = Database.open(settings.registry.database, "registry")
        with closing(registry), opening("[answers] database", settings.answers.database):
            answers = Database.open(settings.answers.database, "answers")
            with closing(answers):
                values = _prune(settings, registry, answers, before, now, dry_run)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    show_fields(values, as_json)
    if isinstance(values["left"], list):
        ctx.exit(_NOT_ALL)


def _prune(
    settings: GatewayConfig,
    registry: Database,
    answers: Database,
    before: str | None,
    now: datetime,
    dry_run: bool,
) -> dict[str, object]:
    signer = open_log_key(settings.registry)
    ledger = Ledger.join(registry, settings.registry.origin, signer, lambda: now)
    prunings = Prunings(ledger, f"operator:{getpass.getuser()}")
    key = open_log_key(settings.answers)
    log = LogReader(answers, ANSWERS, lambda: log_vkey(settings.answers.origin, key))
    # The newest tile stays: by it the log knows how long it is.
    newest = max(0, log.size() - 1) // WIDTH * WIDTH
    cutoff = now - timedelta(days=settings.answers.retention_days)
    size = min(newest, prunings.prunable(log.origin, cutoff))
    if before is not None:
        size = min(newest, _wanted(prunings, log.origin, before, cutoff, size))
    first = log.first()
    if not dry_run and size:
        prunings.add(log.origin, size, cutoff, partial(closed_between, answers))
        prune_leaves(answers, size)
    policy = _policy(settings, registry)
    others = {origin_of(vkey) for vkey in policy.answer_logs} - {log.origin}
    left = [origin for origin in sorted(others) if prunings.left(origin, cutoff)]
    return {
        "log": log.origin,
        "left": left or "nothing in other answer logs of the policy",
        "pruned": not dry_run,
        "entries": max(0, size - first),
        "first": max(size, first),
        "kept_since": format_time(cutoff),
    }


def _policy(settings: GatewayConfig, registry: Database) -> Policy:
    """The newest policy, from the pinned root keys."""
    trust = settings.trust
    keys = [PublicKey.from_pem(read_regular_file(path).decode()) for path in trust.root_keys]
    book = PolicyBook(PinnedRoot({key.keyid: key for key in keys}, trust.threshold))
    with registry.reading() as connection:
        return book.read(connection).newest


def _wanted(prunings: Prunings, origin: str, before: str, cutoff: datetime, allowed: int) -> int:
    """The size that `--before` asks for. Raises SealgateError(RETENTION_HOLDS) for what is
    younger.
    """
    if before.isascii() and before.isdecimal():
        size = int(before) // WIDTH * WIDTH
        if size > allowed:
            raise SealgateError(
                Reason.RETENTION_HOLDS, f"{allowed} entries are known to be old enough"
            )
        return size
    time = parse_time(before)
    if time > cutoff:
        raise SealgateError(Reason.RETENTION_HOLDS, f"kept since {format_time(cutoff)}")
    return prunings.prunable(origin, time)
