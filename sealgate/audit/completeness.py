"""Compares what a separate engine signed that it ran with what the answer logs recorded.

An engine signs how many requests of each version it has run since its process began, and the
registry's log keeps what it signed. A request that it counted and that no entry is about left the
house by another way than through the gateway's record.

The two clocks, and requests on their way at the moment of a statement, are allowed for in one
number of seconds, `slack`: an entry's time is at most so far from when the engine counted it. So
for a statement of time T (to the second)

    missing   = counted - entries up to T + 1 + slack - entries that nobody can open, never below 0
    in doubt  = entries within slack of T, and those of requests that may not have been run

At least `missing` requests have no entry. Up to `in doubt` more may be hidden, for so many entries
may be of requests that the statement does not count.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sealgate.audit.entries import ProvedEntry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import SEPARATE
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.covering import ENGINE, EngineCounts
from sealgate.trust.times import parse_micros, parse_time

# Where one did not answer others were asked, and each may have run the request.
_ASKED = re.compile(re.escape(SEPARATE) + r"(?:; (?:(?:up to )?([1-9][0-9]?) asked: )?.*)?")


@dataclass(slots=True)
class RecordedCounts:
    """The entries about one version that an engine of its own was asked for: when they were made.

    `perhaps` are runs that there may have been: of requests without an answer, and by engines that
    were asked before the one that answered.
    """

    ran: list[datetime] = field(default_factory=list)
    perhaps: list[datetime] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Completeness:
    """The completeness of a version's record: at the statement `time` that shows most, how many
    requests engines had `counted` and how many were `recorded`; `missing` and `in_doubt` are as
    above.
    """

    digest: str
    time: str
    counted: int
    recorded: int
    missing: int
    in_doubt: int


def read_statements(
    records: Iterable[ProvedEntry], policies: Sequence[Policy]
) -> list[EngineCounts]:
    """The engines' statements in the registry's log, in its order, each signed by an engine that
    one of the policies names.

    Raises SealgateError: as `open_statement`; LOG_INCONSISTENT where an instance's counts went
    back.
    """
    found: list[EngineCounts] = []
    newest: dict[str, EngineCounts] = {}
    for entry in records:
        if entry.event != "engine.counted":
            continue
        counts = _opened(entry, policies)
        before = newest.get(counts.instance)
        if before is not None and not counts.follows(before):
            raise SealgateError(Reason.LOG_INCONSISTENT, f"the counts of {counts.engine} went back")
        newest[counts.instance] = counts
        found.append(counts)
    return found


def note_entry(recorded: dict[str, RecordedCounts], values: dict[str, str] | None) -> bool:
    """Add an entry's opened fields to what is recorded; say whether it could be opened."""
    if values is None:
        return False
    separate = _ASKED.fullmatch(values["engine"])
    if separate and values["input"]:
        found = recorded.setdefault(values["version_digest"], RecordedCounts())
        time, asked = parse_micros(values["time"]), int(separate[1] or 1)
        if values["verdict"]:
            found.ran.append(time)
            asked -= 1
        found.perhaps.extend([time] * asked)
    return True


def compare_counts(
    statements: Sequence[EngineCounts],
    recorded: dict[str, RecordedCounts],
    unknown: int,
    slack: timedelta,
    now: datetime,
) -> list[Completeness]:
    """Hold every statement against the entries, and return what shows most for each version.

    `unknown` is how many entries nobody can open, because they are erased or pruned: each may be
    about any version. A statement so young that requests which it counts may still be on their way,
    at `now`, when the entries had been read, is left out.
    """
    for entries in recorded.values():
        entries.ran.sort(), entries.perhaps.sort()
    found: dict[str, Completeness] = {}
    newest: dict[str, EngineCounts] = {}
    for statement in sorted(statements, key=lambda counts: (counts.time, counts.sequence)):
        newest[statement.instance] = statement
        if parse_time(statement.time) + timedelta(seconds=1) + slack > now:
            continue
        for digest, counted in _sums(newest.values()).items():
            entries = recorded.get(digest, RecordedCounts())
            one = _held(digest, statement.time, counted, entries, unknown, slack)
            worst = found.get(digest)
            if worst is None or one.missing >= worst.missing:
                found[digest] = one
    return [found[digest] for digest in sorted(found)]


def _opened(entry: ProvedEntry, policies: Sequence[Policy]) -> EngineCounts:
    envelope = Envelope.decode(entry.document(str(entry.body["envelope"])))
    for policy in reversed(policies[1:]):
        try:
            return open_statement(envelope, EngineCounts, policy, (ENGINE,))
        except SealgateError:
            # An engine of an earlier policy may be gone from the newest.
            continue
    return open_statement(envelope, EngineCounts, policies[0], (ENGINE,))


def _sums(newest: Iterable[EngineCounts]) -> dict[str, int]:
    """The requests of each version, over all instances: a new process begins at nothing."""
    sums: dict[str, int] = {}
    for statement in newest:
        for digest, requests, _ in statement.counts:
            sums[digest] = sums.get(digest, 0) + requests
    return sums


def _held(
    digest: str, time: str, counted: int, entries: RecordedCounts, unknown: int, slack: timedelta
) -> Completeness:
    moment = parse_time(time)
    until, since = moment + timedelta(seconds=1) + slack, moment - slack
    ran, perhaps = bisect_right(entries.ran, until), bisect_right(entries.perhaps, until)
    recorded = ran + perhaps
    doubt = ran - bisect_right(entries.ran, since) + perhaps + unknown
    missing = max(0, counted - recorded - unknown)
    return Completeness(digest, time, counted, recorded, missing, doubt)
