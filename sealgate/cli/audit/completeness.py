"""`sealgate audit completeness`: compares engines' signed counts with what was recorded."""

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


@click.command(
    epilog="\b\nExamples:\n  sealgate audit completeness\n  sealgate audit completeness --slack 60"
)
@click.option(
    "--slack",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a request may take, and the clocks of gateway and engine differ, together.",
)
@json_option
@click.pass_context
def completeness(ctx: click.Context, slack: float, as_json: bool) -> None:
    """Hold the requests that engines signed that they ran against the entries of the answer log.

    For each version the statement is shown that shows most: how many requests were counted by then
    and how many recorded; at least so many are missing; and how many entries were too close to that
    moment to tell, or cannot be opened, and so may hide as many more. The exit status is 1 where
    one is missing. It needs an engine of its own ([engine]): one in the gateway's process signs
    nothing, for whoever has the gateway has its key. An engine that is killed takes with it what it
    counted since its last statement (a minute, `anchor_every`), and a gateway that is killed the
    entries of those whom it had not answered yet.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC))
        statements = read_statements(reader.records(), policies)
        if not statements:
            raise click.ClickException(
                "no engine has signed counts yet: one in a process of its own ([engine] in "
                "gateway.toml) does so about once a minute; what an engine in the gateway's "
                "process ran, nobody else can say"
            )
        origins = Auditor(channel, policies[-1]).origins()
        here = [origin for origin in origins if policies[-1].is_answer_log(origin)]
        now = datetime.now(UTC)
        recorded, unknown = _read(reader, here)
    found = compare(statements, recorded, unknown, timedelta(seconds=slack), now)
    _show(found, unknown, _elsewhere(policies[-1], here), as_json)
    if any(version.missing for version in found):
        ctx.exit(1)


def _read(reader: AuditReader, origins: list[str]) -> tuple[dict[str, RecordedCounts], int]:
    """What is recorded by version, and how many entries nobody can open."""
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
