"""True outcomes that were reported of every promotion, as far as this answer log has them.

The log is the record: when the gateway starts, and after an erasure, the reports of the longest
window are read from it again. Of two reports of one answer, the first alone counts. A gateway knows
the outcomes of the answers that it gave itself.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.outcomes.columns import ColumnDrift, ColumnWatch
from gateway.outcomes.judged import JudgedAnswer
from gateway.outcomes.series import OutcomeSeries, OutcomeWindow, finding
from gateway.recording import AuditRecord, AuditRecorder
from gateway.rollout import Breach
from inference.engine import LiveVersion
from registry.answers import AnswerLog
from sealgate.reasons import SealgateError
from sealgate.trust.policy import (
    CANARY_ALIAS,
    DEFAULT_ALIAS,
    Consequence,
    OutcomeLimits,
    OutcomeRules,
    Policy,
)
from sealgate.trust.receipts.answer_entry import ALARMED, BY_CANARY, FIELDS, REPORTED
from sealgate.trust.times import format_micros, parse_micros

_log = logging.getLogger(__name__)

_MOST_SERIES = 256
# How long outcomes are kept of models whose aliases have no limits.
_DEFAULT_SECONDS = 90 * 86400
_SERVICE = "gateway"


class Promotion(NamedTuple):
    """An alias from one move to the next; `alias` is empty for requests that named the version."""

    model: str
    alias: str
    version: int
    digest: str
    sequence: int


def alias_of(values: Mapping[str, str]) -> str:
    """The alias whose version answered: `canary` may answer in production's stead."""
    alias = values["alias"]
    by_canary = alias == DEFAULT_ALIAS and BY_CANARY in values["actions"].split(",")
    return CANARY_ALIAS if by_canary else alias


def promotion_of(values: Mapping[str, str]) -> Promotion:
    """The promotion whose version gave the answer of an entry, or whose outcome one reports."""
    return Promotion(
        values["model"],
        alias_of(values),
        int(values["version"]),
        values["version_digest"],
        int(values["pointer_sequence"]),
    )


@dataclass(frozen=True, slots=True)
class ShownOutcomes:
    """The outcomes of a promotion within `seconds`, and the limit that they pass, in words."""

    promotion: Promotion
    seconds: int
    window: OutcomeWindow
    columns: Sequence[ColumnDrift]
    finding: str


LiveVersions = Callable[[], Mapping[tuple[str, str], LiveVersion]]
Alarm = Callable[[LiveVersion, str], None]
NO_RULES = OutcomeRules({})


class OutcomeBook:
    """Safe for many threads. `alarm` is told once of each live promotion that passes a limit."""

    def __init__(
        self,
        log: AnswerLog,
        live: LiveVersions,
        policy: Callable[[], Policy],
        alarm: Alarm,
        columns: ColumnWatch,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._live = live
        self._policy = policy
        self._alarm = alarm
        self._columns = columns
        self._clock = clock
        self._mutex = threading.Lock()
        self._series: OrderedDict[Promotion, OutcomeSeries] = OrderedDict()
        # How far the log has been read; None: not at all. Later reports are added as they come.
        self._read: int | None = None
        # Whether the reports of all kept entries have been read once, for those of older answers.
        self._knows_all = False
        self._alarmed: dict[tuple[str, str], str] = {}
        self.counted: Counter[str] = Counter()
        """Reports by the reason of their refusal, empty for none."""
        self.passed: dict[tuple[str, str], str] = {}
        """The aliases that pass a limit now, and which."""

    def add(self, moment: float, reports: Sequence[tuple[Promotion, JudgedAnswer, int]]) -> None:
        """Add what was reported together at a moment, in seconds of the epoch, each with its
        entry.
        """
        with self._mutex:
            for promotion, judged, entry in reports:
                # A report that was recorded while the log was read may have been read there.
                if self._read is not None and entry >= self._read:
                    self._add(promotion, moment, judged, entry)

    def forget(self) -> None:
        """Read the log again before anything is told: a subject was erased."""
        with self._mutex:
            self._read = None
            self._series.clear()

    def reports(self, entries: Sequence[int]) -> Mapping[int, int]:
        """The entries that report these, as the log's entries say: its rows may lack some. Raises
        like `Openings.find`.
        """
        with self._mutex:
            self._load()
        return self._log.reports(entries)

    def shown(self, model: str) -> list[ShownOutcomes]:
        """The outcomes of a model, newest promotion first. Raises like `Openings.find`."""
        now = self._clock()
        with self._mutex:
            self._load()
            found = {p: series for p, series in self._series.items() if p.model == model}
            for live in self._live().values():
                # Of what is live, columns are known before any outcome.
                if live.model == model and self._rules().of(model):
                    found.setdefault(_promotion(live), OutcomeSeries())
            shown = [self._shown(promotion, series, now) for promotion, series in found.items()]
        return sorted(shown, key=lambda each: each.promotion[::-1], reverse=True)

    def current(self) -> list[ShownOutcomes]:
        """The outcomes of live promotions, for metrics; empty while the log cannot be read, so that
        all other metrics are still exported.
        """
        now, live = self._clock(), [_promotion(each) for each in self._live().values()]
        if not live or not self._rules().models:
            return []
        with self._mutex:
            try:
                self._load()
            except SealgateError:
                return []
            return [self._shown(p, self._series.get(p) or OutcomeSeries(), now) for p in live]

    def breaches(self) -> list[Breach]:
        """The live promotions that pass a limit which rolls back; `alarm` is told of the others."""
        found: list[Breach] = []
        passed: dict[tuple[str, str], str] = {}
        for place, live in self._live().items() if self._rules().models else ():
            limits = self._limits(*place)
            words = self._finding(live, limits) if limits is not None else None
            if limits is None or words is None:
                continue
            passed[place] = words
            if self._alarmed.get(place) != live.pointer:
                self._alarmed[place] = live.pointer
                self._alarm(live, words)
            if limits.action == Consequence.ROLLBACK:
                found.append(Breach(*place, live.pointer, live.sequence, limits, words))
        self.passed = passed
        return found

    def _finding(self, live: LiveVersion, limits: OutcomeLimits) -> str | None:
        with self._mutex:
            self._load()
            series = self._series.get(_promotion(live), OutcomeSeries())
            window = series.since(self._clock() - limits.window_seconds)
        return finding(window, limits, _furthest(self._columns.drift(live.pointer), limits))

    def _shown(self, promotion: Promotion, series: OutcomeSeries, now: float) -> ShownOutcomes:
        limits = self._limits(promotion.model, promotion.alias)
        seconds = limits.window_seconds if limits else _DEFAULT_SECONDS
        window = series.since(now - seconds)
        live = self._live().get((promotion.model, promotion.alias))
        is_live = live is not None and _promotion(live) == promotion
        columns = self._columns.drift(live.pointer) if live and is_live else []
        psi = _furthest(columns, limits) if limits else None
        words = finding(window, limits, psi) if limits else None
        return ShownOutcomes(promotion, seconds, window, columns, words or "")

    def _rules(self) -> OutcomeRules:
        return self._policy().outcomes or NO_RULES

    def _limits(self, model: str, alias: str) -> OutcomeLimits | None:
        rules = self._rules().of(model)
        return rules.aliases.get(alias) if rules else None

    def _add(self, promotion: Promotion, moment: float, judged: JudgedAnswer, entry: int) -> None:
        series = self._series.get(promotion)
        if series is None:
            series = self._series[promotion] = OutcomeSeries()
            if len(self._series) > _MOST_SERIES:
                self._series.popitem(last=False)
        self._series.move_to_end(promotion)
        series.add(moment, judged, entry)

    def _load(self) -> None:
        """Read the reports of the longest window, in the log's order; the first time all, so that
        no answer has a second one.
        """
        if self._read is not None:
            return
        windows = [
            limits.window_seconds
            for rules in self._rules().models.values()
            for limits in rules.aliases.values()
        ]
        since = self._clock() - max(windows, default=_DEFAULT_SECONDS)
        where = {"outcome": REPORTED}
        if self._knows_all:
            where["since"] = format_micros(datetime.fromtimestamp(since, UTC))
        # An attempt that failed may have left some.
        self._series.clear()
        size = self._log.size
        for found in self._log.openings.find(0, size, (), where):
            for index, opening in found.openings:
                self._count(index, dict(zip(FIELDS, opening.fields, strict=True)), since)
        self._knows_all = True
        self._read = size

    def _count(self, index: int, values: Mapping[str, str], since: float) -> None:
        """Add what entry `index` reports, if it is the first about its answer and not too old."""
        moment = parse_micros(values["time"]).timestamp()
        if self._log.is_first_report(int(values["input"]), index) and moment >= since:
            self._add(promotion_of(values), moment, JudgedAnswer.decode(values["output"]), index)


def _promotion(live: LiveVersion) -> Promotion:
    return Promotion(live.model, live.alias, live.version, live.digest, live.sequence)


def _furthest(columns: Sequence[ColumnDrift], limits: OutcomeLimits) -> tuple[float, str] | None:
    """The largest stability index and its column, of those that have rows enough."""
    known = [(c.psi, c.column) for c in columns if c.rows >= limits.minimum_outcomes]
    return max(known, default=None)


class OutcomeAlarm:
    """Writes a line into the process' log and an entry, about nobody, into the answer log."""

    def __init__(self, recorder: AuditRecorder, clock: Callable[[], datetime]) -> None:
        self._recorder = recorder
        self._clock = clock

    def __call__(self, live: LiveVersion, finding: str) -> None:
        place = f"{live.model}/{live.alias}, version {live.version}"
        _log.error("%s, passes a limit of the policy: %s", place, finding)
        record = AuditRecord(
            subject="",
            time=self._clock(),
            principal=_SERVICE,
            method="",
            policy_digest=live.policy,
            outcome=ALARMED,
            model=live.model,
            version=str(live.version),
            version_digest=live.digest,
            pointer_sequence=str(live.sequence),
            output=finding,
            alias=live.alias,
        )
        try:
            self._recorder.record(record)
        except SealgateError as refusal:
            # The consequences of the limit do not wait for the log.
            _log.error("an alarm is not recorded: %s", refusal)
