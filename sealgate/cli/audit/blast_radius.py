"""`sealgate audit blast-radius` and `sealgate audit readers`."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from sealgate.audit import (
    Auditor,
    AuditReader,
    BlastRadius,
    OpenedEntry,
    add_judged,
    radius_of_key,
    radius_of_threshold,
    radius_of_version,
)
from sealgate.cli.context import connected, other_logs, policy_history, profile
from sealgate.cli.options import start_option
from sealgate.cli.output import json_option, show_rows
from sealgate.trust.policy import KEYID, Policy
from sealgate.trust.receipts.answer_entry import READ

_THRESHOLD = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
_SHOWN = ("time", "principal", "model", "version", "pointer_sequence", "outcome", "threshold")


class _Search:
    """A bounded look through the answer logs of a gateway."""

    def __init__(self, reader: AuditReader, limit: int, start: int, whole: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self.digests: set[str] = set()
        self.next: dict[str, int] = {}
        self.unopened: dict[str, list[int]] = {}
        self._reader = reader
        self._limit = limit
        self._start = start
        self._whole = whole

    def look(self, origin: str, reach: BlastRadius) -> None:
        """Adds the touched entries of a log, in order, as many as were asked for at most."""
        searches = reach.searches(origin)
        size = self._reader.size(origin)
        found: dict[int, OpenedEntry] = {}
        for values in [()] if self._whole and searches else searches:
            count = 0
            for opened in self._reader.openings(origin, min(self._start, size), size, values):
                if opened.fields is None:
                    self.unopened.setdefault(origin, []).append(opened.index)
                elif reach.touches(origin, opened.fields):
                    found[opened.index] = opened
                    count += 1
                if count > self._limit:
                    break
        indices = sorted(found)
        if len(indices) > self._limit:
            self.next[origin] = indices[self._limit]
        for index in indices[: self._limit]:
            fields = found[index].fields or {}
            self.digests.add(fields["version_digest"])
            told = {name: fields[name] for name in _SHOWN}
            self.rows.append({"log": origin, "entry": index, **told})


@click.command(
    "blast-radius",
    epilog="""
\b
Examples:
  sealgate audit blast-radius digits/2
  sealgate audit blast-radius sha256:0123…         a version by its digest
  sealgate audit blast-radius 9f86d081884c7d65…    a key by its id (64 hex digits)
  sealgate audit blast-radius 3.0412               a detector's threshold
""",
)
@click.argument("target")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="The maximum number of answers of each log.",
)
@start_option
@click.option(
    "--whole", is_flag=True, help="Open every entry, instead of trusting the gateway's index."
)
@json_option
@click.pass_context
def blast_radius(
    ctx: click.Context, target: str, limit: int, start: int, whole: bool, as_json: bool
) -> None:
    """Show every version, pointer and answer that depends on TARGET.

    Signed documents come from the registry's log, read here from its first entry to its signed
    root. Answers come from this gateway's answer log, each proved by its receipt. Without --whole,
    the gateway's index is trusted to be complete. If there are more answers, the output says where
    to continue.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policies = policy_history(person, channel)
        reader = AuditReader(channel, policies[-1], lambda: datetime.now(UTC))
        reach = _reach(target, reader, policies)
        search = _Search(reader, limit, start, whole)
        origins = Auditor(channel, policies[-1]).answer_logs()
        for origin in origins:
            search.look(origin, reach)
        if reach.threshold:
            add_judged(reach, search.digests, reader.records())
    _show(reach, search, other_logs(policies[-1], origins), as_json)


def _reach(target: str, reader: AuditReader, policies: tuple[Policy, ...]) -> BlastRadius:
    if KEYID.fullmatch(target):
        return radius_of_key(target, reader.records(), policies)
    if _THRESHOLD.fullmatch(target):
        return radius_of_threshold(float(target))
    if "/" in target or target.startswith("sha256:"):
        return radius_of_version(target, reader.records())
    raise click.BadParameter(
        "neither MODEL/VERSION, a digest, the 64 hex digits of a key's id, nor a number",
        param_hint="TARGET",
    )


def _show(reach: BlastRadius, search: _Search, elsewhere: list[str], as_json: bool) -> None:
    registry = [
        {"kind": t.kind, "what": t.what, "entry": t.entry, "how": t.how} for t in reach.found
    ]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "registry": registry,
                    "answers": search.rows,
                    "next": search.next,
                    "unopened": search.unopened,
                    "elsewhere": elsewhere,
                },
                indent=2,
            )
        )
        return
    show_rows(registry, ("kind", "what", "entry", "how"), as_json)
    show_rows(search.rows, ("log", "entry", *_SHOWN), as_json)
    for origin, index in search.next.items():
        click.echo(f"there are more in {origin}: --from {index}")
    for origin, indices in search.unopened.items():
        click.echo(f"{len(indices)} entries of {origin} cannot be opened, the first {indices[0]}")
    for origin in elsewhere:
        click.echo(f"{origin} is another gateway's: ask there too")


@click.command(
    epilog="\b\nExamples:\n  sealgate audit readers\n"
    "  sealgate audit readers --by auditor --limit 20 --json"
)
@click.option("--by", "principal", default="", help="Only what this principal read.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="The maximum number of reads.",
)
@start_option
@json_option
@click.pass_context
def readers(ctx: click.Context, principal: str, limit: int, start: int, as_json: bool) -> None:
    """Show who read audit data, when and which, from this gateway's answer log."""
    person = profile(ctx, "auditor")
    rows: list[dict[str, Any]] = []
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        reader = AuditReader(channel, policy, lambda: datetime.now(UTC))
        for origin in Auditor(channel, policy).answer_logs():
            rows += _reads(reader, origin, principal, start, limit)
    show_rows(rows, ("log", "entry", "time", "principal", "method", "asked"), as_json)


def _reads(
    reader: AuditReader, origin: str, principal: str, start: int, limit: int
) -> Iterator[dict[str, Any]]:
    size = reader.size(origin)
    where = {"outcome": READ, **({"principal": principal} if principal else {})}
    found = 0
    for opened in reader.openings(origin, min(start, size), size, tuple(where.values()), where):
        fields = opened.fields
        if fields is None or fields["outcome"] != READ:
            continue
        if principal and fields["principal"] != principal:
            continue
        if found == limit:
            click.echo(f"there are more in {origin}: --from {opened.index}", err=True)
            return
        found += 1
        yield {
            "log": origin,
            "entry": opened.index,
            "time": fields["time"],
            "principal": fields["principal"],
            "method": fields["method"].rpartition("/")[2],
            "asked": fields["input"],
        }
