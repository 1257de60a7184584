"""What a loaded version has done: counts and nanoseconds, measured where the work is done.

A request costs one short hold of a lock, and so does a batch.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Duration:
    """How many, and how many nanoseconds they took together."""

    count: int = 0
    ns: int = 0


class Fault(Enum):
    """What went wrong with a version's runs, and was put right."""

    OUT_OF_MEMORY = "a batch was halved, for want of memory"
    RUN_ENDED = "a run took too long and was ended"
    SESSIONS_REPLACED = "a run could not be ended, and the sessions were replaced"


class Phases(NamedTuple):
    """The nanoseconds of a batch: gathering its rows, screening and inferring, parting them."""

    gather: int
    infer: int
    part: int


@dataclass(frozen=True, slots=True)
class Executions:
    """`count` batches, or requests that batches ran, and their phases' nanoseconds together."""

    count: int
    phases: Phases


@dataclass(frozen=True, slots=True)
class Report:
    """Everything at one moment.

    `inferences` are rows and `executions` batches. `by_request` counts a batch's phases for each
    of its requests, `by_size` once, under the batch's rows. `last_ms` is when the last batch was
    done, in milliseconds of the epoch; 0 where there was none. `faults` are those that happened.
    `verdicts` are those on requests, by name.
    """

    success: Duration
    fail: Duration
    queue: Duration
    by_request: Executions
    by_size: Mapping[int, Executions]
    last_ms: int
    faults: Mapping[Fault, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)

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

    def add(self, count: int, phases: Phases) -> None:
        self.count += count
        self.gather += count * phases.gather
        self.infer += count * phases.infer
        self.part += count * phases.part

    def executions(self) -> Executions:
        return Executions(self.count, Phases(self.gather, self.infer, self.part))


@dataclass(slots=True)
class Statistics:
    """Counts for one loaded version. Safe for many threads."""

    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _succeeded: int = 0
    _succeeded_ns: int = 0
    _failed: int = 0
    _failed_ns: int = 0
    _last_ns: int = 0
    _by_request: _Total = field(default_factory=_Total)
    _by_size: dict[int, _Total] = field(default_factory=dict)
    _faults: dict[Fault, int] = field(default_factory=dict)
    _verdicts: dict[str, int] = field(default_factory=dict)

    def succeeded(self, ns: int) -> None:
        """A request was answered, `ns` after it came."""
        with self._mutex:
            self._succeeded += 1
            self._succeeded_ns += ns

    def failed(self, ns: int) -> None:
        """A request was refused, `ns` after it came."""
        with self._mutex:
            self._failed += 1
            self._failed_ns += ns

    def happened(self, fault: Fault) -> None:
        """Something went wrong and was put right."""
        with self._mutex:
            self._faults[fault] = self._faults.get(fault, 0) + 1

    def judged(self, verdict: str) -> None:
        """Screening has judged a request, whatever became of it."""
        with self._mutex:
            self._verdicts[verdict] = self._verdicts.get(verdict, 0) + 1

    def executed(self, requests: int, rows: int, phases: Phases) -> None:
        """A batch was run. There are at most as many sizes as a batch may have rows."""
        now = time.time_ns()
        with self._mutex:
            self._last_ns = now
            self._by_request.add(requests, phases)
            size = self._by_size.get(rows)
            if size is None:
                size = self._by_size[rows] = _Total()
            size.add(1, phases)

    def report(self, queue: Duration) -> Report:
        """What was counted here, and how long requests queued, which their batcher counts."""
        with self._mutex:
            return Report(
                success=Duration(self._succeeded, self._succeeded_ns),
                fail=Duration(self._failed, self._failed_ns),
                queue=queue,
                by_request=self._by_request.executions(),
                by_size={rows: total.executions() for rows, total in sorted(self._by_size.items())},
                last_ms=self._last_ns // 1_000_000,
                faults=dict(self._faults),
                verdicts=dict(self._verdicts),
            )
