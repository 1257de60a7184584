"""`sealgate audit as-of` and `sealgate audit decision`."""

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from sealgate.audit.as_of import live_pointers
from sealgate.audit.decision import HOLDS, Examination
from sealgate.audit.reader import AuditReader
from sealgate.cli.audit.verify import NOT_ALL_SEEN
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_rows
from sealgate.trust.receipts import Receipt
from sealgate.trust.times import format_time

_LOOK_SECONDS = 1.0


class Moment(click.ParamType):
    """A time of RFC 3339, or a date for its first second; without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time like 2026-11-25T10:00:00Z", param, ctx)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(
    "as-of",
    epilog="\b\nExamples:\n  sealgate audit as-of 2026-11-25T10:00:00Z\n"
    "  sealgate audit as-of 2026-11-25 digits --json",
)
@click.argument("moment", metavar="TIME", type=Moment())
@click.argument("model", default="")
@json_option
@click.pass_context
def as_of(ctx: click.Context, moment: datetime, model: str, as_json: bool) -> None:
    """Show which versions were live at TIME, and the log entries that prove it.

    A move that the gateway left out shows, because the next move is proved too. `audit verify` and
    `audit follow` check that everybody is shown the same log.
    """
    now = datetime.now(UTC)
    if moment > now:
        raise click.BadParameter("that time is to come", param_hint="TIME")
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        reader = AuditReader(channel, policy, lambda: datetime.now(UTC))
        text = format_time(moment)
        found = live_pointers(reader.live_at(text, model), text, model)
    rows = [
        {
            "model": s.model,
            "alias": s.alias,
            "version": s.version,
            "digest": s.digest,
            "sequence": s.sequence,
            "action": s.action,
            "admin": s.admin,
            "since": s.since,
            "until": s.until,
            "revoked": s.revoked,
            "entry": s.entry,
        }
        for s in found
    ]
    columns = ("model", "alias", "version", "digest", "sequence", "admin", "since", "revoked")
    show_rows(rows, (*columns, "entry"), as_json)


@click.command(
    epilog="\b\nExamples:\n  sealgate audit decision receipt.json\n"
    "  sealgate audit decision receipt.json --json"
)
@click.argument("receipt", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Seconds to wait for an anchor that covers the entry (see `anchor_every`).",
)
@json_option
@click.pass_context
def decision(ctx: click.Context, receipt: Path, patience: float, as_json: bool) -> None:
    """Trace the answer of RECEIPT back to exact bytes and the people who approved them.

    Each step is verified on this machine, from the pinned root keys. The exit status is 1 if a step
    fails, and 3 if all hold but no anchor covers the entry yet.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC), policies)
        until = time.monotonic() + patience
        while True:
            read = Receipt.decode(receipt.read_bytes())
            findings = list(Examination(read, policies, datetime.now(UTC)).findings(reader))
            if not any(finding.waits for finding in findings) or time.monotonic() >= until:
                break
            time.sleep(_LOOK_SECONDS)
    rows = [{"step": f.step, "what": f.what, "found": f.found} for f in findings]
    show_rows(rows, ("step", "what", "found"), as_json)
    broken = [finding for finding in findings if finding.found != HOLDS]
    if broken:
        ctx.exit(NOT_ALL_SEEN if all(finding.waits for finding in broken) else 1)
