"""`sealgate audit find` and `decision`: finds decisions, and traces one to bytes and people."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from sealgate.audit import HOLDS, Auditor, AuditReader, Examination, OpenedEntry
from sealgate.cli.audit.verify import NOT_ALL_SEEN, looks
from sealgate.cli.context import connected, other_logs, policy_history, profile
from sealgate.cli.options import EXISTING_FILE, FILE, start_option
from sealgate.cli.output import json_option, show_rows, warn_unscreened
from sealgate.files import replace_file
from sealgate.pages import Case, CaseStep, decision_page
from sealgate.reasons import SealgateError
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.times import format_micros, format_time

_DATE_LENGTH = len("2026-11-25")
_LAST = timedelta(days=1) - timedelta(microseconds=1)
_COLUMNS = ("log", "entry", "time", "principal", "model", "version", "outcome", "request_id")
_OPTIONS = {
    "principal": ("--caller", "The caller's name in the policy."),
    "subject": ("--subject", "Whom the request is about; after an erasure, nothing is found."),
    "request_id": ("--request-id", "The caller's own `id` of the request."),
    "model": ("--model", "The model that was asked."),
    "outcome": ("--outcome", "`answered`, or the reason of a refusal."),
}
F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType):
    """A time of RFC 3339, or a date for its first moment; without a zone it is UTC. With `end`, a
    date stands for its last moment.
    """

    name = "time"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        text = str(value)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is not a time like 2026-11-25T10:00:00Z", param, ctx)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + _LAST if self._end and len(text) == _DATE_LENGTH else moment


@click.command(
    epilog="\b\nExamples:\n  sealgate audit decision receipt.json\n"
    "  sealgate audit decision receipt.json --page case-4711.html   for a case file\n"
    "  sealgate audit decision receipt.json --json"
)
@click.argument("receipt", type=EXISTING_FILE)
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Seconds to wait for an anchor that covers the entry (see `anchor_every`).",
)
@click.option(
    "--page",
    type=FILE,
    help="Also write one HTML page with every step, its digests and the commands that check it.",
)
@json_option
@click.pass_context
def decision(
    ctx: click.Context, receipt: Path, patience: float, page: Path | None, as_json: bool
) -> None:
    """Trace the answer of RECEIPT back to exact bytes and the people who approved them.

    Each step is verified on this machine, from the pinned root keys. The exit status is 1 if a step
    fails, and 3 if all hold but no anchor covers the entry yet.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC), policies)
        for _ in looks(patience):
            read = Receipt.decode(receipt.read_bytes())
            findings = list(Examination(read, policies, datetime.now(UTC)).findings(reader))
            if not any(finding.waits for finding in findings):
                break
    if page is not None:
        case = _case(read, policies[-1], list(person.pinned_roots()))
        steps = [CaseStep(f.step, f.what, f.found) for f in findings]
        replace_file(page, decision_page(case, steps, HOLDS).encode())
    rows = [{"step": f.step, "what": f.what, "found": f.found} for f in findings]
    show_rows(rows, ("step", "what", "found"), as_json)
    _, screening = read.opened.get("screening", (b"", ""))
    warn_unscreened(screening)
    broken = [finding for finding in findings if finding.found != HOLDS]
    if broken:
        ctx.exit(NOT_ALL_SEEN if all(finding.waits for finding in broken) else 1)


def _case(receipt: Receipt, policy: Policy, roots: list[str]) -> Case:
    """The receipt's case for the page; nothing of a receipt is shown that does not verify."""
    data = receipt.encode()
    try:
        verified = verify_receipt(receipt, policy)
    except SealgateError:
        origin, fields = "an unverified receipt", {}
    else:
        origin = verified.checkpoint.origin
        fields = {name: verified.fields[name] for name in receipt.names if name in verified.fields}
    now = format_time(datetime.now(UTC))
    return Case(origin, receipt.proof.index, fields, data, canonical.sha256(data), now, roots)


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
@start_option
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
        here = Auditor(channel, policy).answer_logs()
        for origin in here:
            found = list(islice(_found(reader, origin, start, where), limit + 1))
            if len(found) > limit:
                following[origin] = found.pop().index
            rows += [{"log": origin, "entry": each.index, **(each.fields or {})} for each in found]
    _show(rows, following, other_logs(policy, here), as_json)


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
