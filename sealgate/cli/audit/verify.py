"""`sealgate audit verify`: verifies every log that any policy named."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from sealgate.audit import (
    BROKEN,
    ELSEWHERE,
    INCOMPLETE,
    INTACT,
    Auditor,
    AuditReader,
    LogReport,
    StampAuthority,
    VerifyOptions,
    named_logs,
    verify_logs,
)
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.options import EXISTING_FILE, FILE
from sealgate.cli.output import json_option, show_rows
from sealgate.client.consistency import ClientMemory, ClientMemoryFile
from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.timestamps import TimestampAuthority
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey

# Each look is recorded as a read, so looks become rarer.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
_COLUMNS = ("log", "entries", "anchors", "anchored", "root", "found")
NOT_ALL_SEEN = 3
"""The exit status where what was seen is intact, and something was not seen."""

elsewhere_option = click.option(
    "--elsewhere",
    multiple=True,
    metavar="ORIGIN",
    help="A log that you verify elsewhere; may be repeated.",
)


@click.command(
    epilog="""
\b
Examples:
  sealgate audit verify
  sealgate audit verify --known verified.json    goes on where it ended last time
  sealgate audit verify --gateway gateway-2.example:8443
  sealgate audit verify --witness witness.example+4f2a91c0+BDk… --witnesses 1
  sealgate audit verify --timestamps authority.pem

The exit status is 1 where something does not hold, and 3 where all holds and not all was seen.
"""
)
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="HOST:PORT",
    help="Another gateway of the same registry to read from; may be repeated.",
)
@elsewhere_option
@click.option(
    "--witness", "keys", multiple=True, metavar="KEY", help="A witness's verifier key (C2SP)."
)
@click.option(
    "--witnesses",
    "threshold",
    type=click.IntRange(1),
    help="The number of witnesses that must have cosigned each log; default: all.",
)
@click.option(
    "--timestamps",
    type=EXISTING_FILE,
    help="The certificates (PEM) of the time-stamp authority whose stamps each log must have.",
)
@click.option("--timestamp-policy", default="", metavar="OID", help="The policy of its stamps.")
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for the first anchor of a log; it comes within seconds of its entries.",
)
@click.option(
    "--open/--no-open",
    "opens",
    default=True,
    help="Whether to open every entry, so that deleted openings show; on by default. It takes most"
    " of the time, about 0.7 ms an entry.",
)
@click.option(
    "--known",
    type=FILE,
    help="Go on from the checkpoints in this file, and store the new ones there. Of answers that "
    "were verified before only hashes are read, and closed entries are not counted.",
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    gateways: tuple[str, ...],
    elsewhere: tuple[str, ...],
    keys: tuple[str, ...],
    threshold: int | None,
    timestamps: Path | None,
    timestamp_policy: str,
    patience: float,
    opens: bool,
    known: Path | None,
    as_json: bool,
) -> None:
    """Verify every entry of every log against everything that was signed about it.

    Each log must extend its checkpoints: the newest one, every anchor in the registry's log and,
    with --witness, a state that these witnesses have cosigned, with --timestamps each that the
    authority has stamped. Stored hashes must be those of the
    entries; of pruned entries, which the registry's log must record, only hashes remain. A log that
    a policy named and no gateway shows is not intact, nor is one that no anchor covers yet. Every
    entry of an answer log is opened; those that can't be must be as many as the registry's log
    records as erased.
    """
    witnesses, wanted = _witnesses(keys, threshold)
    person = profile(ctx, "auditor")
    with ExitStack() as stack:
        asked_people = (person, *(replace(person, endpoint=address) for address in gateways))
        channels = [stack.enter_context(connected(each)) for each in asked_people]
        policies = policy_history(person, channels[0])
        policies[-1].check_standing(datetime.now(UTC))
        if unknown := set(elsewhere) - named_logs(policies).keys():
            raise click.BadParameter(
                f"no policy names {', '.join(sorted(unknown))}", param_hint="--elsewhere"
            )
        file = ClientMemoryFile(known) if known is not None else None
        stamped_by = _stamp_authority(timestamps, timestamp_policy)
        asked = VerifyOptions(witnesses, wanted, elsewhere, _checkpoints(file), stamped_by)
        bars = stack.enter_context(_Bars(not as_json))
        for _ in looks(patience):
            auditors = [_auditor(channel, policies, opens) for channel in channels]
            reports = list(verify_logs(auditors, policies, asked, bars.move))
            if not any(report.reason is Reason.ENTRY_UNANCHORED for report in reports):
                break
    if file is not None:
        file.save(ClientMemory(policies[-1].version, _intact_notes(reports)))
    _show(reports, keys, timestamps is not None, as_json)
    states = {report.state for report in reports}
    if states & {BROKEN, INCOMPLETE}:
        ctx.exit(1 if BROKEN in states else NOT_ALL_SEEN)


def _witnesses(keys: tuple[str, ...], threshold: int | None) -> tuple[list[WitnessKey], int]:
    """The witnesses, and how many of them must have cosigned."""
    witnesses = [WitnessKey.from_vkey(key) for key in keys]
    wanted = len(witnesses) if threshold is None else threshold
    if wanted > len(witnesses):
        raise click.UsageError("--witnesses asks for more than --witness names")
    return witnesses, wanted


def _stamp_authority(certificates: Path | None, policy: str) -> StampAuthority | None:
    if certificates is None:
        return None
    return StampAuthority(TimestampAuthority(certificates.read_bytes(), policy), datetime.now(UTC))


def _checkpoints(file: ClientMemoryFile | None) -> dict[str, Checkpoint]:
    """The checkpoints that were verified before, by log."""
    notes = file.load().notes if file is not None else {}
    return {origin: ClientMemory.checkpoint(note) for origin, note in notes.items()}


def _intact_notes(reports: Sequence[LogReport]) -> dict[str, str]:
    found = [r.finding for r in reports if r.finding is not None and r.state == INTACT]
    return {each.origin: each.note for each in found}


def _show(reports: Sequence[LogReport], keys: Sequence[str], stamped: bool, as_json: bool) -> None:
    rows = [_row(report, keys) for report in reports]
    if not as_json:
        rows = [
            {name: "-" if row[name] is None else row[name] for name in _COLUMNS} for row in rows
        ]
    show_rows(rows, _COLUMNS, as_json)
    if not as_json:
        click.echo(_summary(reports, keys, stamped))


def looks(patience: float) -> Iterator[None]:
    """One look now, and more of them, ever rarer, until `patience` seconds are over."""
    until, pause = time.monotonic() + patience, _FIRST_PAUSE
    yield
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        yield


def _auditor(channel: grpc.Channel, policies: Sequence[Policy], opens: bool) -> Auditor:
    policy = policies[-1]
    reader = AuditReader(channel, policy, lambda: datetime.now(UTC)) if opens else None
    return Auditor(channel, policy, policies, reader)


class _Bars:
    """A bar for each log, on a terminal, while it is read."""

    def __init__(self, wanted: bool) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        shown = wanted and console.is_terminal
        self._progress = Progress(*columns, transient=True, disable=not shown, console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def move(self, origin: str, done: int, total: int) -> None:
        if origin not in self._tasks:
            self._tasks[origin] = self._progress.add_task(origin)
        self._progress.update(self._tasks[origin], completed=done, total=total)


def _row(report: LogReport, keys: Sequence[str]) -> dict[str, object]:
    found = report.finding
    return {
        "log": report.origin,
        "state": report.state,
        "reason": report.reason.name if report.reason else "",
        "found": _found(report),
        "entries": found.size if found else None,
        "root": found.root if found else None,
        "first": found.first if found else None,
        "anchors": found.anchors if found else None,
        "anchored": found.anchored if found else None,
        "tiles": found.whole if found else None,
        "known": found.known if found else 0,
        "closed": report.closed.entries if report.closed else None,
        "witnesses": list(found.witnesses) if found else [],
        "witnessed": found.witnessed if found else 0,
        "without": list(found.without) if found else [],
        "witnesses_asked": len(keys),
        "stamps": found.stamps if found else 0,
        "stamped": found.stamped if found else 0,
        "stamped_time": found.stamped_time if found else "",
    }


def _found(report: LogReport) -> str:
    """Describe the result for a log in one line."""
    if report.reason is not None:
        return f"{report.reason.name}: {report.detail or report.reason.sentence}"
    if report.state == ELSEWHERE:
        return f"not asked for here; {report.detail}"
    finding, text = report.finding, INTACT
    if finding is None:
        return text
    if finding.first:
        text += f"; of the first {finding.first}, pruned, only the hashes"
    if finding.known:
        text += f"; the first {finding.known} verified before"
    if finding.witnesses:
        text += f"; {finding.witnessed} entries cosigned by {', '.join(finding.witnesses)}"
    if finding.without:
        text += f"; not by {', '.join(finding.without)}"
    if finding.stamps:
        text += f"; {finding.stamped} entries stamped at {finding.stamped_time}"
        if finding.size > finding.stamped:
            text += f", not yet the {finding.size - finding.stamped} after them"
    closed = report.closed
    if closed and closed.entries:
        erased = "erased" if closed.explained else "closed, erased or not: releases did not count"
        text += f"; {closed.entries} entries {erased}"
    if not finding.whole:
        text += "; hashes above the leaves not seen: the gateway's release does not show them"
    return text


def _summary(reports: Sequence[LogReport], keys: Sequence[str], stamped: bool) -> str:
    """One line: what holds, what does not, what was not seen."""
    by_state = {
        state: [report.origin for report in reports if report.state == state]
        for state in (BROKEN, INCOMPLETE, INTACT, ELSEWHERE)
    }
    verdict = "INTACT"
    if by_state[BROKEN]:
        verdict = f"BROKEN: {', '.join(by_state[BROKEN])}"
    elif by_state[INCOMPLETE]:
        verdict = f"NOT ALL SEEN: {', '.join(by_state[INCOMPLETE])}"
    anchors = sum(report.finding.anchors for report in reports if report.finding)
    parts = [
        f"{len(by_state[INTACT])} of {len(reports)} logs intact",
        f"{anchors} anchors checked",
        f"{len(keys)} witnesses asked for" if keys else "no witness asked for (--witness)",
    ]
    stamps = sum(report.finding.stamps for report in reports if report.finding)
    parts.append(
        f"{stamps} time stamps checked" if stamped else "no time stamps asked for (--timestamps)"
    )
    if by_state[ELSEWHERE]:
        parts.append(f"elsewhere: {', '.join(by_state[ELSEWHERE])}")
    return f"{verdict}; {', '.join(parts)}"
