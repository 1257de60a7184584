"""`sealgate audit find`: finds decisions by caller, subject, time and more, each with its proof."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import click

from sealgate.audit import Auditor
from sealgate.audit.reader import AuditReader, OpenedEntry
from sealgate.cli.audit.moment import Moment
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import json_option, show_rows
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_micros

_COLUMNS = ("log", "entry", "time", "principal", "model", "version", "outcome", "request_id")
_OPTIONS = {
    "principal": ("--caller", "The caller's name in the policy."),
    "subject": ("--subject", "Whom the request is about; after an erasure, nothing is found."),
    "request_id": ("--request-id", "The caller's own `id` of the request."),
    "model": ("--model", "The model that was asked."),
    "outcome": ("--outcome", "`answered`, or the reason of a refusal."),
}
F = TypeVar("F", bound=Callable[..., Any])


def _search_options(command: F) -> F:
    for name, (option, text) in reversed(_OPTIONS.items()):
        command = click.option(option, name, help=text)(command)
    return command


@click.command(
    epilog="""
\b
Examples:
  sealgate audit find --caller client --since 2026-11-28 --until 2026-11-28
  sealgate audit find --request-id case-4711
  sealgate audit find --subject patient-4711 --outcome ADVERSARIAL_INPUT --json
"""
)
@_search_options
@click.option("--since", type=Moment(), help="The earliest time; a date begins at midnight (UTC).")
@click.option("--until", type=Moment(end=True), help="The latest time; a date is meant whole.")
@click.option("--from", "start", type=click.IntRange(0), default=0, help="The first entry to read.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="The maximum number of decisions of each log.",
)
@json_option
@click.pass_context
def find(
    ctx: click.Context,
    since: datetime | None,
    until: datetime | None,
    start: int,
    limit: int,
    as_json: bool,
    **named: str | None,
) -> None:
    """Find decisions in this gateway's answer log by everything that is given.

    Each is proved by its receipt: `sealgate audit show LOG ENTRY --receipt FILE` writes it. That
    there is no other is the gateway's word, unless you open every entry (`audit verify`). The
    search is recorded in the log, under your name.
    """
    where = {name: value for name, value in named.items() if value}
    if since is not None:
        where["since"] = format_micros(since)
    if until is not None:
        where["until"] = format_micros(until)
    if not where:
        raise click.UsageError("say what to find: --caller, --since or another of --help")
    person = profile(ctx, "auditor")
    rows: list[dict[str, Any]] = []
    following: dict[str, int] = {}
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        reader = AuditReader(channel, policy, lambda: datetime.now(UTC))
        here = [o for o in Auditor(channel, policy).origins() if policy.is_answer_log(o)]
        for origin in here:
            found = list(islice(_found(reader, origin, start, where), limit + 1))
            if len(found) > limit:
                following[origin] = found.pop().index
            rows += [{"log": origin, "entry": each.index, **(each.fields or {})} for each in found]
    _show(rows, following, _elsewhere(policy, here), as_json)


def _found(
    reader: AuditReader, origin: str, start: int, where: Mapping[str, str]
) -> Iterator[OpenedEntry]:
    """The entries that can be opened and fit, whatever the gateway shows besides."""
    size = reader.size(origin)
    for opened in reader.openings(origin, min(start, size), size, where=where):
        if opened.fields is not None and _fits(opened.fields, where):
            yield opened


def _fits(fields: Mapping[str, str], where: Mapping[str, str]) -> bool:
    since, until = (where.get(name, fields["time"]) for name in ("since", "until"))
    named = {name: value for name, value in where.items() if name in fields}
    return since <= fields["time"] <= until and named.items() <= fields.items()


def _elsewhere(policy: Policy, here: list[str]) -> list[str]:
    """The answer logs of other gateways, which only they can open."""
    names = [vkey.partition("+")[0] for vkey in policy.answer_logs]
    return [name for name in names if name not in here]


def _show(
    rows: list[dict[str, Any]], following: dict[str, int], elsewhere: list[str], as_json: bool
) -> None:
    if as_json:
        told = {"decisions": rows, "next": following, "elsewhere": elsewhere}
        click.echo(json.dumps(told, indent=2))
        return
    show_rows([{name: row.get(name, "") for name in _COLUMNS} for row in rows], _COLUMNS, as_json)
    for origin, index in following.items():
        click.echo(f"there are more in {origin}: --from {index}")
    for origin in elsewhere:
        click.echo(f"{origin} is another gateway's: ask there too")
