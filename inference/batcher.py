"""Requests of many threads run together: a bounded queue, and batches with no thread of their own.

Who comes while a lane is free leads: it runs a batch on its own thread. Who comes meanwhile queues.
When a run ends, its thread wakes the first in the queue, which leads next (a form of flat
combining: Hendler et al., SPAA 2010). So batches grow with the load by themselves, a lone request
pays for no switch between threads, there is no worker that could die, and a batcher that nobody
refers to any more needs no shutting down. Urgent requests go first in the queue: see
`inference.waiting`.

Before it runs, a leader yields the processor once. Where other requests are ready to join, they get
as far as the queue and are taken along, even on a single core; where none is, it costs a
microsecond. Where batches run back to back and fewer wait than ran last, the others are probably on
their way back: the leader then waits for them, at most `delay` seconds. An idle lane never waits.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from inference.waiting import WaitingLine
from sealgate.reasons import Reason, Refusal

# A request brings rows, whatever they are, and gets its part of the result.
Rows = TypeVar("Rows", bound=Sized)
Part = TypeVar("Part")
Gate = threading.Lock


class _State(Enum):
    QUEUED = auto()
    LEADING = auto()
    RUNNING = auto()


class _Job(Generic[Rows, Part]):
    """One request on its way; `gate` opens when its thread is to go on."""

    __slots__ = (
        "active",
        "deadline",
        "entered",
        "failure",
        "gate",
        "part",
        "rows",
        "state",
        "urgent",
        "waited",
        "x",
    )

    def __init__(
        self, x: Rows, deadline: float | None, active: Callable[[], bool] | None, urgent: bool
    ) -> None:
        self.x = x
        self.rows = len(x)
        self.urgent = urgent
        self.entered = time.monotonic_ns()
        self.waited = 0
        self.deadline = deadline
        self.active = active
        self.state = _State.RUNNING
        self.gate: threading.Lock | None = None
        self.part: Part | None = None
        self.failure: Refusal | None = None

    def is_wanted(self, now: float) -> bool:
        """Whether anyone still waits for the result."""
        if self.deadline is not None and now >= self.deadline:
            return False
        return self.active is None or self.active()


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows to a batch and to each level of the queue; seconds that a run may wait; runs at once."""

    max_rows: int
    queue_rows: int
    delay: float = 0.0
    lanes: int = 1

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.queue_rows < 1 or self.lanes < 1 or self.delay < 0:
            raise ValueError("limits must be positive")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a batcher has done so far.

    `dropped` requests ran out of time, lost their caller, or were in a batch that failed.
    `waited_ns` is how long the others took, together, from their arrival until they ran.
    """

    requests: int
    batches: int
    rows: int
    dropped: int
    waited_ns: int


class Batcher(Generic[Rows, Part]):
    """Runs `work`, which takes the rows of each request and returns a part for each, in order."""

    def __init__(self, work: Callable[[list[Rows]], Sequence[Part]], limits: Limits) -> None:
        self._work = work
        self._limits = limits
        self._mutex = threading.Lock()
        self._arrived = threading.Condition(self._mutex)
        self._drained = threading.Condition(self._mutex)
        self._queue: WaitingLine[_Job[Rows, Part]] = WaitingLine(limits.queue_rows)
        self._free_lanes = limits.lanes
        self._awaited_rows = 0
        self._last_rows = 0
        self._closed = False
        self._requests = self._batches = self._rows = self._dropped = self._waited_ns = 0

    def submit(
        self,
        x: Rows,
        deadline: float | None = None,
        active: Callable[[], bool] | None = None,
        urgent: bool = False,
    ) -> Part:
        """Run the rows of `x` [n, …] in some batch and return this request's part of the result.

        `deadline` is in seconds of `time.monotonic`. `active` is asked once, just before the run.
        `urgent` requests overtake the others in the queue, within bounds.
        Raises: BATCH_TOO_LARGE, QUEUE_FULL, DRAINING; DEADLINE_TOO_SHORT where the deadline passes
        first or `active` denies; where the run fails, its reason or else INTERNAL.
        """
        job: _Job[Rows, Part] = _Job(x, deadline, active, urgent)
        if not 1 <= job.rows <= self._limits.max_rows:
            raise Refusal(Reason.BATCH_TOO_LARGE, f"{job.rows} rows")
        gate = self._enter(job)
        if gate is None or self._wait(job, gate):
            self._lead(job)
        if job.part is None:
            raise job.failure or Refusal(Reason.INTERNAL, "its batch was abandoned")
        return job.part

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DRAINING; wait for the others. False where time ran out."""
        with self._drained:
            self._closed = True
            return self._drained.wait_for(self._is_idle, timeout)

    def counts(self) -> Counts:
        with self._mutex:
            return Counts(self._requests, self._batches, self._rows, self._dropped, self._waited_ns)

    def _is_idle(self) -> bool:
        return self._free_lanes == self._limits.lanes

    def _enter(self, job: _Job[Rows, Part]) -> "threading.Lock | None":
        """Take a free lane (None) or a place in the queue, to wait at the returned gate.

        A lane is only free while nobody queues.
        """
        with self._mutex:
            if self._closed:
                raise Refusal(Reason.DRAINING)
            if self._free_lanes:
                self._free_lanes -= 1
                return None
            if not self._queue.has_room(job):
                raise Refusal(Reason.QUEUE_FULL, f"{self._queue.rows} rows wait")
            job.gate = gate = Gate()
            gate.acquire()
            job.state = _State.QUEUED
            self._queue.append(job)
            if self._awaited_rows and self._queue.rows >= self._awaited_rows:
                self._awaited_rows = 0
                self._arrived.notify()
            return gate

    def _wait(self, job: _Job[Rows, Part], gate: "threading.Lock") -> bool:
        """Wait for the result (false) or for being told to lead (true)."""
        left = -1.0 if job.deadline is None else max(0.0, job.deadline - time.monotonic())
        try:
            opened = gate.acquire(timeout=left)
        except BaseException:  # an interrupted thread must neither be waited for nor keep the lane
            if self._withdraw(job):
                self._pass_on([])
            raise
        # Who has run out of time but was just told to lead must, for the sake of those behind.
        if not opened and not self._withdraw(job):
            raise Refusal(Reason.DEADLINE_TOO_SHORT, "in the queue")
        return job.state is _State.LEADING

    def _withdraw(self, job: _Job[Rows, Part]) -> bool:
        """Take `job` out of the queue if it is still there; whether it was told to lead."""
        with self._mutex:
            if job.state is _State.QUEUED:
                self._queue.remove(job)
                self._dropped += 1
            return job.state is _State.LEADING

    def _lead(self, job: _Job[Rows, Part]) -> None:
        """Run one batch, with `job` at its head, and pass the lane on whatever happens."""
        batch = [job]
        try:
            os.sched_yield()
            self._take_along(batch)
            self._run(batch)
        except Exception as error:  # whatever it was, it must reach each of the batch's threads
            reason = error.reason if isinstance(error, Refusal) else Reason.INTERNAL
            for member in batch:
                # Each its own: an exception is not to be raised in two threads.
                member.failure = Refusal(reason, f"a batch failed: {error!r}")
        finally:
            self._pass_on(batch)

    def _take_along(self, batch: list[_Job[Rows, Part]]) -> None:
        limits, rows = self._limits, batch[0].rows
        with self._mutex:
            wanted = min(self._last_rows, limits.max_rows) - rows
            busy = limits.delay and batch[0].gate is not None
            if busy and not self._awaited_rows and 2 * self._queue.rows < wanted:
                self._awaited_rows = wanted
                self._arrived.wait_for(lambda: not self._awaited_rows, limits.delay)
                self._awaited_rows = 0
            while self._queue and rows + self._queue.head().rows <= limits.max_rows:
                member = self._queue.take()
                member.state = _State.RUNNING
                rows += member.rows
                batch.append(member)

    def _run(self, batch: list[_Job[Rows, Part]]) -> None:
        ran = time.monotonic_ns()
        now = ran / 1e9
        wanted = []
        for job in batch:
            if job.is_wanted(now):
                wanted.append(job)
            else:
                job.failure = Refusal(Reason.DEADLINE_TOO_SHORT, "before its run")
        if wanted:
            parts = self._work([job.x for job in wanted])
            for job, part in zip(wanted, parts, strict=True):
                job.part = part
                job.waited = ran - job.entered

    def _pass_on(self, batch: list[_Job[Rows, Part]]) -> None:
        """Give the lane to the first in the queue, or free it; then let the batch's threads go."""
        done = [job for job in batch if job.part is not None]
        heir = None
        with self._mutex:
            self._requests += len(done)
            self._dropped += len(batch) - len(done)
            self._batches += bool(done)
            self._last_rows = sum(job.rows for job in done)
            self._rows += self._last_rows
            self._waited_ns += sum(job.waited for job in done)
            if self._queue:
                heir = self._queue.take()
                heir.state = _State.LEADING
            else:
                self._free_lanes += 1
                if self._closed and self._is_idle():
                    self._drained.notify_all()
        if heir is not None and heir.gate is not None:
            heir.gate.release()
        for job in batch[1:]:
            if job.gate is not None:
                job.gate.release()
