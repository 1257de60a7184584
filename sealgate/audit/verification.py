"""Verifies the whole record of an installation: every log that any of its policies named.

A log that was not shown is reported as such: nobody can say that it is intact.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import grpc

from sealgate.audit.answer_logs import (
    AnswerLogHistory,
    ClosedEntries,
    ErasureCounts,
    check_closed,
    last_anchor,
    named_logs,
)
from sealgate.audit.auditor import Auditor
from sealgate.audit.tree_check import LogFinding, StampAuthority
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey

INTACT = "intact"
INCOMPLETE = "incomplete"
BROKEN = "broken"
ELSEWHERE = "elsewhere"
"""The auditor checks this log at another place."""

# Called with a log's origin, how many of its entries are checked, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class LogReport:
    """The result of verifying one log. `reason` says why it is not `INTACT`, and `detail` what that
    is about; `finding` is there where its entries were read to the end, and `closed` where each was
    opened, as far as it can be.
    """

    origin: str
    state: str
    reason: Reason | None = None
    detail: str = ""
    finding: LogFinding | None = None
    closed: ClosedEntries | None = None


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """Options of a verification: `threshold` of these witnesses must have cosigned each log; the
    logs `elsewhere` are not read here. `known` are checkpoints that were verified before, by their
    log: it goes on from there. The stamps of `stamped_by` on each log are verified.
    """

    witnesses: Sequence[WitnessKey] = ()
    threshold: int = 0
    elsewhere: Collection[str] = ()
    known: Mapping[str, Checkpoint] = field(default_factory=dict)
    stamped_by: StampAuthority | None = None


def verify_logs(
    auditors: Sequence[Auditor],
    policies: Sequence[Policy],
    asked: VerifyOptions,
    progress: Progress,
) -> Iterator[LogReport]:
    """Verify what the gateways behind `auditors` show, each log once; name logs that none shows.

    1. The registry's log is verified through the first gateway. It tells of the same policies, and
       what each other gateway shows of it extends that, or is extended by it.
    2. Every answer log that a policy ever named is verified with each anchor of it.
    3. Its entries are opened where the auditor has a reader for that, and those that cannot be are
       as many as erasures closed (OPENING_MISSING, ERASURE_UNFINISHED).
    4. A log that no gateway shows is not intact (LOG_UNSEEN), nor is one with entries of which no
       anchor tells (ENTRY_UNANCHORED), nor, where stamps are asked for, one that has none
       (TIMESTAMP_MISSING).
    """
    names = named_logs(policies)
    registry = next(iter(names))
    shown = {origin: auditor for auditor in reversed(auditors) for origin in auditor.origins()}
    # 1.
    first = auditors[0]
    report = _verified(first, registry, asked, progress)
    if report.state != BROKEN:
        report = _checked(report, lambda: _check_registry(auditors, registry, policies))
    yield report
    if report.state == BROKEN:
        detail = "the registry's log, which anchors it, is broken"
        for origin in names.keys() - {registry}:
            yield LogReport(origin, BROKEN, Reason.LOG_INCONSISTENT, detail)
        return
    told = first.told()
    for auditor in auditors[1:]:
        auditor.use(told)
    for origin, versions in names.items():
        # 2. to 4.
        if origin == registry:
            continue
        if origin in shown:
            report = _verified(shown[origin], origin, asked, progress)
            yield _anchored(_opened(shown[origin], report))
        else:
            unseen = LogReport(origin, ELSEWHERE)
            if origin not in asked.elsewhere:
                detail = f"named by policy {versions}"
                unseen = LogReport(origin, INCOMPLETE, Reason.LOG_UNSEEN, detail)
            yield _checked(unseen, partial(_with_last, unseen, told, policies))


def _verified(auditor: Auditor, origin: str, asked: VerifyOptions, progress: Progress) -> LogReport:
    report = LogReport(origin, INTACT)

    def verify() -> LogReport:
        finding = auditor.verify(
            origin,
            lambda done, total: progress(origin, done, total),
            asked.witnesses,
            asked.threshold,
            asked.known.get(origin),
            asked.stamped_by,
        )
        if asked.stamped_by is not None and not finding.stamps:
            detail = f"the gateway keeps no time stamp of {origin}"
            return LogReport(origin, INCOMPLETE, Reason.TIMESTAMP_MISSING, detail, finding)
        return LogReport(origin, INTACT, finding=finding)

    return _checked(report, verify)


def _opened(auditor: Auditor, report: LogReport) -> LogReport:
    """Step 3."""
    reader, finding, origin = auditor.reader, report.finding, report.origin
    if reader is None or finding is None:
        return report

    def told(found: AnswerLogHistory) -> ErasureCounts:
        return found.erased.get(origin, ErasureCounts())

    def check() -> LogReport:
        start = max(finding.first, finding.known)
        closed = sum(e.fields is None for e in reader.openings(origin, start, finding.size))
        if finding.known:
            # How many are closed before it, only a whole run counts.
            return report
        before, again = told(auditor.told()), lambda: told(auditor.told_again())
        return replace(report, closed=check_closed(origin, closed, before, again))

    try:
        return _checked(report, check)
    except grpc.RpcError as error:
        if reason_of(error) is not Reason.RIGHT_MISSING:
            raise
        detail = "its entries were not opened: that takes the right to read every model"
        return replace(report, state=INCOMPLETE, reason=Reason.RIGHT_MISSING, detail=detail)


def _checked(report: LogReport, check: Callable[[], LogReport | None]) -> LogReport:
    """The report that `check` makes, or this one, unless it refuses."""
    try:
        return check() or report
    except SealgateError as refusal:
        return LogReport(report.origin, BROKEN, refusal.reason, refusal.detail)
    except grpc.RpcError as error:
        reason = reason_of(error)
        if reason is not Reason.LOG_INCONSISTENT:
            raise
        detail = f"the gateway itself says so of {report.origin}"
        return LogReport(report.origin, BROKEN, reason, detail)


def _check_registry(auditors: Sequence[Auditor], registry: str, policies: Sequence[Policy]) -> None:
    """Step 1 but for the entries. Raises SealgateError."""
    first, *others = auditors
    accepted = first.told().policies
    if accepted != [policy.digest for policy in policies]:
        detail = f"{registry} tells of {len(accepted)} policies, and {len(policies)} were shown"
        raise SealgateError(Reason.POLICY_ROLLED_BACK, f"{detail}; ask again where one is new")
    for other in others:
        here, there = first.checkpoint(registry), other.checkpoint(registry)
        if here.size <= there.size:
            other.verify_consistency(registry, here)
        else:
            first.verify_consistency(registry, there)


def _anchored(report: LogReport) -> LogReport:
    finding = report.finding
    if finding is None or finding.anchors or not finding.size or report.reason is not None:
        return report
    detail = f"no anchor of {report.origin} yet: ask again once its gateway has made one"
    return LogReport(report.origin, INCOMPLETE, Reason.ENTRY_UNANCHORED, detail, finding)


def _with_last(report: LogReport, told: AnswerLogHistory, policies: Sequence[Policy]) -> LogReport:
    """The report of a log that is not shown, with what the registry's log records of it."""
    last = last_anchor(told, policies, report.origin)
    return replace(report, detail="; ".join(filter(None, (report.detail, last))))
