"""Statistics of a loaded version: counts and durations, measured where the work is done.

Each request and each batch holds a lock once, for a short time.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Duration:
    """A number of events, and their total nanoseconds."""

    count: int = 0
    ns: int = 0

    def __add__(self, other: "Duration") -> "Duration":
        return Duration(self.count + other.count, self.ns + other.ns)


WAIT_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bucket bounds of waiting times, in seconds."""
_BOUNDS_NS = tuple(round(bound * 1e9) for bound in WAIT_BOUNDS)


@dataclass(frozen=True, slots=True)
class WaitHistogram:
    """A histogram of waiting times with the bounds BOUNDS, and their total nanoseconds."""

    counts: tuple[int, ...] = (0,) * (len(WAIT_BOUNDS) + 1)
    ns: int = 0

    def __add__(self, ns: int) -> "WaitHistogram":
        counts = list(self.counts)
        counts[bisect_left(_BOUNDS_NS, ns)] += 1
        return WaitHistogram(tuple(counts), self.ns + ns)


class RequestEnding(NamedTuple):
    """How a request ended: its verdict, empty if it was not screened, and the reason of its error,
    empty if it was answered.
    """

    verdict: str
    reason: str


class RunFault(Enum):
    """A fault of a version's runs that was repaired."""

    OUT_OF_MEMORY = "a batch was halved, for want of memory"
    RUN_ENDED = "a run took too long and was ended"
    SESSIONS_REPLACED = "a run could not be ended, and the sessions were replaced"


class BatchPhases(NamedTuple):
    """The nanoseconds of a batch: gathering its rows, screening and inferring, splitting
    results.
    """

    gather: int
    infer: int
    part: int


@dataclass(frozen=True, slots=True)
class Executions:
    """`count` batches, or requests that batches ran, and the total nanoseconds of their phases."""

    count: int
    phases: BatchPhases


@dataclass(frozen=True, slots=True)
class VersionStatistics:
    """All statistics at one moment.

    `requests` are counted by how they ended. `inferences` are rows and `executions` batches.
    `by_request` counts a batch's phases for each of its requests, `by_size` once, under the batch's
    rows. `last_ms` is the time of the last batch, in milliseconds of the epoch, or 0. `faults` are
    repaired faults. `screening` and `inference` count the runs of either graph. `first` and `graph`
    are rows by the stage of screening that decided; without a first stage all are the graph's.
    `first_token` and `next_token` are waiting times for tokens of answers, the first from the
    arrival of its request.
    """

    requests: Mapping[RequestEnding, Duration]
    queue: Duration
    by_request: Executions
    by_size: Mapping[int, Executions]
    last_ms: int
    faults: Mapping[RunFault, int] = field(default_factory=dict)
    screening: Duration = Duration()
    inference: Duration = Duration()
    first: int = 0
    graph: int = 0
    first_token: WaitHistogram = WaitHistogram()
    next_token: WaitHistogram = WaitHistogram()
    prompt_tokens: int = 0
    output_tokens: int = 0

    @property
    def success(self) -> Duration:
        """The requests that were answered, and how long they took."""
        return sum((d for end, d in self.requests.items() if not end.reason), Duration())

    @property
    def fail(self) -> Duration:
        """The requests that were refused, and how long that took."""
        return sum((d for end, d in self.requests.items() if end.reason), Duration())

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many requests got each verdict, whatever their outcome."""
        found: Counter[str] = Counter()
        for ending, duration in self.requests.items():
            if ending.verdict:
                found[ending.verdict] += duration.count
        return found

    @property
    def executions(self) -> int:
        return sum(size.count for size in self.by_size.values())

    @property
    def inferences(self) -> int:
        return sum(rows * size.count for rows, size in self.by_size.items())


@dataclass(slots=True)
class _Total:
    """Executions as they add up."""

    count: int = 0
    gather: int = 0
    infer: int = 0
    part: int = 0

    def add(self, count: int, phases: BatchPhases) -> None:
        self.count += count
        self.gather += count * phases.gather
        self.infer += count * phases.infer
        self.part += count * phases.part

    def executions(self) -> Executions:
        return Executions(self.count, BatchPhases(self.gather, self.infer, self.part))


@dataclass(slots=True)
class Statistics:
    """Counts for one loaded version. Safe for many threads."""

    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _ended: dict[RequestEnding, list[int]] = field(default_factory=dict)
    _screening: Duration = Duration()
    _inference: Duration = Duration()
    _first: int = 0
    _graph: int = 0
    _last_ns: int = 0
    _by_request: _Total = field(default_factory=_Total)
    _by_size: dict[int, _Total] = field(default_factory=dict)
    _faults: dict[RunFault, int] = field(default_factory=dict)
    _first_token: WaitHistogram = WaitHistogram()
    _next_token: WaitHistogram = WaitHistogram()
    _prompt_tokens: int = 0
    _output_tokens: int = 0

    def ended(self, ending: RequestEnding, ns: int) -> None:
        """A request ended like this, `ns` after it arrived. There are few such ways."""
        with self._mutex:
            total = self._ended.get(ending)
            if total is None:
                total = self._ended[ending] = [0, 0]
            total[0] += 1
            total[1] += ns

    def began(self, tokens: int) -> None:
        """A prompt with that many tokens is being answered."""
        with self._mutex:
            self._prompt_tokens += tokens

    def came(self, tokens: int, ns: int, first: bool) -> None:
        """That many tokens of an answer arrived, its first ones or later ones, after that
        many ns.
        """
        with self._mutex:
            self._output_tokens += tokens
            if first:
                self._first_token += ns
            else:
                self._next_token += ns

    def happened(self, fault: RunFault) -> None:
        """A fault occurred and was repaired."""
        with self._mutex:
            self._faults[fault] = self._faults.get(fault, 0) + 1

    def ran(self, screening: int, inference: int) -> None:
        """The screening graph and the answering graph ran for that many nanoseconds."""
        with self._mutex:
            self._screening += Duration(1, screening)
            self._inference += Duration(1, inference)

    def screened(self, first: int, graph: int) -> None:
        """How many rows of a request the first stage decided, and how many the response graph."""
        with self._mutex:
            self._first += first
            self._graph += graph

    def executed(self, requests: int, rows: int, phases: BatchPhases) -> None:
        """A batch was run. There are at most as many sizes as a batch may have rows."""
        now = time.time_ns()
        with self._mutex:
            self._last_ns = now
            self._by_request.add(requests, phases)
            size = self._by_size.get(rows)
            if size is None:
                size = self._by_size[rows] = _Total()
            size.add(1, phases)

    def report(self, queue: Duration) -> VersionStatistics:
        """The statistics, with the queueing times that the batcher counts."""
        with self._mutex:
            return VersionStatistics(
                requests={ending: Duration(*total) for ending, total in self._ended.items()},
                queue=queue,
                by_request=self._by_request.executions(),
                by_size={rows: total.executions() for rows, total in sorted(self._by_size.items())},
                last_ms=self._last_ns // 1_000_000,
                faults=dict(self._faults),
                screening=self._screening,
                inference=self._inference,
                first=self._first,
                graph=self._graph,
                first_token=self._first_token,
                next_token=self._next_token,
                prompt_tokens=self._prompt_tokens,
                output_tokens=self._output_tokens,
            )
