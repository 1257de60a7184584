"""A gateway's answers to several callers, as far as a search sees them: screening and sessions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.stateful.searches import Reply, Row, Search
from benchmarks.subjects import Guarded, Rows
from gateway.sessions.fingerprints import Fingerprint
from gateway.sessions.neighbourhoods import Neighbourhoods
from gateway.sessions.query_attack_detection import CallerSession
from gateway.sessions.session_rows import Disclosure, class_of_version

BLOCK, ALERT, OFF = POLICIES = ("block", "alert", "none")
"""The policy's consequences for sessions. In each, `adversarial` is refused, and `suspect` gets the
class alone, as `sealgate init` has it.
"""
_TOLD = {"adversarial": Disclosure.NOTHING, "suspect": Disclosure.CLASS}


@dataclass(frozen=True, slots=True)
class Judged:
    """Screening's result for a row, and its fingerprint."""

    given: Fingerprint
    logits: Rows
    verdict: str
    payoff: float

    @property
    def told(self) -> Disclosure:
        """The answer that its caller gets."""
        return _TOLD.get(self.verdict, Disclosure.CLEAN)


def judged(guarded: Guarded, rows: Rows) -> list[Judged]:
    """Of rows [n, d]."""
    logits, found = guarded.judge_all(rows)
    prints = guarded.printer.of(rows, 0, 1, guarded.alike)
    return [
        Judged(given, own, verdict, payoff)
        for given, own, (_, verdict, payoff) in zip(prints, logits, found, strict=True)
    ]


@dataclass(slots=True)
class SearchRun:
    """One search on a row [d] of class `label`, under so many names in turn; `asked` queries until
    it `succeeded`, until a session was first `alarmed`, until its first row was refused, until one
    `crossed` what other names were told, and until a session was `blocked`, which ends that name.
    Without `asks_x` nobody asks about x itself.
    """

    search: Search
    x: Row
    label: int
    policy: str
    names: int
    within: float
    asks_x: bool = True
    asked: int = 0
    succeeded: int | None = None
    alarmed: int | None = None
    refused: int | None = None
    blocked: int | None = None
    row: Row | None = None
    crossed: int | None = None
    neighbourhoods: Neighbourhoods = field(default_factory=Neighbourhoods)
    sessions: list[CallerSession] = field(init=False)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sessions = [CallerSession() for _ in range(self.names)]
        self.row = self.x if self.asks_x else next(self.search)

    def take(self, found: Judged) -> None:
        """The answer to its row."""
        name = self.asked % self.names
        self.asked += 1
        reply = self._reply(found, name)
        if reply.label is None and self.refused is None:
            self.refused = self.asked
        if len(self.ended) == self.names or self._won(reply):
            self.row = None
            return
        try:
            first = self.asks_x and self.asked == 1
            self.row = next(self.search) if first else self.search.send(reply)
        except StopIteration:
            self.row = None

    def _won(self, reply: Reply) -> bool:
        if reply.label in (None, self.label) or self.row is None:
            return False
        if np.abs(self.row - self.x).max() > self.within + 1e-6:
            return False
        self.succeeded = self.asked
        return True

    def _reply(self, found: Judged, name: int) -> Reply:
        own = int(found.logits.argmax())
        anchor = None
        if self.policy != OFF:
            withheld = found.verdict == "adversarial"
            told = self.sessions[name].add(found.given, own, found.payoff, found.told)
            anchor = told.anchor if self.policy == BLOCK else None
            if (told.search or told.extraction or told.turned) and self.alarmed is None:
                self.alarmed = self.asked
            if self.policy == BLOCK and (told.search or told.extraction):
                self.ended.add(name)
                self.blocked = self.blocked or self.asked
            if told.anchor is None and not withheld and self._crosses(found, own, name):
                self.crossed = self.crossed or self.asked
                self.alarmed = self.alarmed or self.asked
                if self.policy == BLOCK:
                    return Reply(None)
        if name in self.ended or found.verdict == "adversarial":
            return Reply(None)
        if anchor is not None:
            return Reply(anchor)
        return Reply(own, None if found.verdict == "suspect" else found.logits)

    def _crosses(self, found: Judged, own: int, name: int) -> bool:
        if not len(found.given.levels):
            return False
        classes = [class_of_version(own, "")]
        return self.neighbourhoods.crossed(str(name), [found.given.encode()], classes)[0]


def run_together(guarded: Guarded, runs: Sequence[SearchRun], queries: int) -> None:
    """Run searches side by side, until each has ended or asked so often."""
    for _ in range(queries):
        left = [run for run in runs if run.row is not None]
        if not left:
            return
        rows = np.stack([run.row for run in left if run.row is not None])
        for run, found in zip(left, judged(guarded, rows), strict=True):
            run.take(found)
