"""`sealgate audit completeness`: compares engines' signed counts with the answer log."""

import json
from datetime import UTC, datetime, timedelta

import click

from sealgate.audit import Auditor
from sealgate.audit.completeness import (
    Completeness,
    RecordedCounts,
    compare,
    note_entry,
    read_statements,
)
from sealgate.audit.reader import AuditReader
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_rows
from sealgate.trust.policy import Policy

_COLUMNS = ("version", "statement", "counted", "recorded", "missing", "in_doubt")
_NOTHING_SIGNED = (
    "unknown: no engine has signed counts. An engine in a process of its own ([engine] in "
    "gateway.toml) signs them about once a minute. What an engine in the gateway's own process "
    "ran, nobody else can say."
)


@click.command(
    epilog="\b\nExamples:\n  sealgate audit completeness\n  sealgate audit completeness --slack 60"
)
@click.option(
    "--slack",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest request plus the difference of the clocks of gateway and engine.",
)
@json_option
@click.pass_context
def completeness(ctx: click.Context, slack: float, as_json: bool) -> None:
    """Compare the requests that engines signed that they ran with the entries of the answer log.

    For each version, the most telling statement is shown: how many requests were counted by then,
    how many were recorded, how many are missing at least, and how many entries are in doubt because
    they were too close to that moment or can't be opened. The exit status is 1 if a request is
    missing. It needs a separate engine ([engine]); one in the gateway's process signs nothing,
    because whoever holds the gateway holds its key: the output then says that nothing is known, and
    the exit status is 0. A killed engine loses the counts since its last
    statement (a minute, `anchor_every`), and a killed gateway loses the entries of requests not yet
    answered.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC))
        statements = read_statements(reader.records(), policies)
        origins = Auditor(channel, policies[-1]).origins()
        here = [origin for origin in origins if policies[-1].is_answer_log(origin)]
        now = datetime.now(UTC)
        # Entries are compared with statements, so without these they need not be opened.
        recorded, unknown = _read(reader, here) if statements else ({}, 0)
    if not statements:
        _say_unknown(as_json)
        return
    found = compare(statements, recorded, unknown, timedelta(seconds=slack), now)
    _show(found, unknown, _elsewhere(policies[-1], here), as_json)
    if any(version.missing for version in found):
        ctx.exit(1)


def _read(reader: AuditReader, origins: list[str]) -> tuple[dict[str, RecordedCounts], int]:
    """Return the recorded counts by version, and the number of entries that nobody can open."""
    recorded: dict[str, RecordedCounts] = {}
    unknown = 0
    for origin in origins:
        for opened in reader.openings(origin, 0, reader.size(origin)):
            values = None if opened.fields is None else dict(opened.fields)
            unknown += not note_entry(recorded, values)
    return recorded, unknown


def _elsewhere(policy: Policy, here: list[str]) -> list[str]:
    """The answer logs of other gateways, in which some of what is missing here may stand."""
    names = [vkey.partition("+")[0] for vkey in policy.answer_logs]
    return [name for name in names if name not in here]


def _say_unknown(as_json: bool) -> None:
    """Say that there is nothing to compare, which is no failure: the default installation has no
    separate engine.
    """
    told = {"versions": [], "unopened": 0, "elsewhere": [], "unknown": _NOTHING_SIGNED}
    click.echo(json.dumps(told, indent=2) if as_json else _NOTHING_SIGNED)


def _show(found: list[Completeness], unknown: int, elsewhere: list[str], as_json: bool) -> None:
    rows = [
        {
            "version": version.digest,
            "statement": version.time,
            "counted": version.counted,
            "recorded": version.recorded,
            "missing": version.missing,
            "in_doubt": version.in_doubt,
        }
        for version in found
    ]
    if as_json:
        told = {"versions": rows, "unopened": unknown, "elsewhere": elsewhere}
        click.echo(json.dumps(told, indent=2))
        return
    show_rows(rows, _COLUMNS, as_json)
    if unknown:
        click.echo(f"{unknown} entries cannot be opened; each may be about any version")
    for origin in elsewhere:
        click.echo(f"{origin} is another gateway's: what is missing here may stand there")
