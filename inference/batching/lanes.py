"""The state that a batcher's threads share behind one mutex: queue, lanes, bursts and counts."""

import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Generic

from inference.batching.batch_sizing import BatchSizing, RowCapacity
from inference.batching.cost_model import RateEstimate
from inference.batching.job import Job, JobGate, JobState, Part, Rows
from inference.batching.limits import BatcherCounts, BatcherLimits
from inference.batching.queue import FairQueue, QueueItem
from sealgate.reasons import Reason, SealgateError

Gate = threading.Lock


class BurstGate:
    """Wakes the thread of a burst, once for each request that changed its state."""

    def __init__(self) -> None:
        self._events: SimpleQueue[None] = SimpleQueue()

    def release(self) -> None:
        self._events.put(None)

    def wait(self, timeout: float | None) -> bool:
        """Return whether something changed within `timeout` seconds."""
        try:
            self._events.get(timeout=timeout)
        except Empty:
            return False
        return True


class Burst(Generic[Rows, Part]):
    """The requests of one thread. `jobs` are those that may queue, in order."""

    __slots__ = ("_outcomes", "gate", "jobs")

    def __init__(self) -> None:
        self.gate = BurstGate()
        self.jobs: list[Job[Rows, Part]] = []
        self._outcomes: list[Job[Rows, Part] | SealgateError] = []

    def add(self, job: Job[Rows, Part]) -> None:
        self.jobs.append(job)
        self._outcomes.append(job)

    def refuse(self, refusal: SealgateError) -> None:
        """Note why the next request is none for the queue."""
        self._outcomes.append(refusal)

    def leader(self) -> Job[Rows, Part] | None:
        """The request that was told to lead a batch."""
        return next((job for job in self.jobs if job.state is JobState.LEADING), None)

    def led(self, job: Job[Rows, Part]) -> None:
        """Note that the batch of a leader has ended."""
        job.state = JobState.RUNNING

    def is_settled(self) -> bool:
        return all(job.is_settled for job in self.jobs)

    def wait(self) -> Sequence[Job[Rows, Part]]:
        """Wait until a request changes its state; return those whose time ran out before that."""
        waiting = [job for job in self.jobs if job.state is JobState.QUEUED]
        ends = [job.deadline for job in waiting if job.deadline is not None]
        timeout = max(0.0, min(ends) - time.monotonic()) if ends else None
        if self.gate.wait(timeout):
            return ()
        now = time.monotonic()
        return [job for job in waiting if job.deadline is not None and job.deadline <= now]

    def results(self) -> list[Part | SealgateError]:
        """The result or error of each request, in order."""
        found: list[Part | SealgateError] = []
        for outcome in self._outcomes:
            if isinstance(outcome, SealgateError):
                found.append(outcome)
                continue
            try:
                found.append(outcome.result())
            except SealgateError as refusal:
                found.append(refusal)
        return found


class LaneQueue(Generic[Rows, Part]):
    """Requests that wait for a lane, and batches that run. Safe for many threads."""

    def __init__(self, limits: BatcherLimits, capacity: RowCapacity | None = None) -> None:
        """`capacity` limits batches, but not single requests, to what memory allows."""
        self._limits = limits
        self._mutex = threading.Lock()
        self.arrived = threading.Condition(self._mutex)
        self._drained = threading.Condition(self._mutex)
        self.queue: FairQueue[Job[Rows, Part]] = FairQueue(limits.queue_rows, limits.levels)
        self.pace = RateEstimate(limits.lanes)
        self._sizing = BatchSizing(limits, capacity)
        self.free_lanes = limits.lanes
        self.awaited_rows = 0
        self._running: dict[int, tuple[float, list[Job[Rows, Part]]]] = {}
        self._closed: Reason | None = None
        self._requests = self._batches = self._rows = self._dropped = self._waited_ns = 0

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DRAINING and wait for the others. False if time ran out."""
        with self._drained:
            self._closed = self._closed or Reason.DRAINING
            return self._drained.wait_for(self._is_idle, timeout)

    @property
    def is_given_up(self) -> bool:
        return self._closed is Reason.RUN_HUNG

    def is_running_since(self, moment: float) -> bool:
        """Whether a batch that began before `moment`, of `time.monotonic`, still runs."""
        with self._mutex:
            return any(began < moment for began, _ in self._running.values())

    def give_up(self) -> None:
        """Fail every new, queued and running request with RUN_HUNG.

        Only the threads that lead a batch must stay until their run ends.
        """
        with self._mutex:
            self._closed = Reason.RUN_HUNG
            running = [job for _, batch in self._running.values() for job in batch]
            self._running.clear()
            queued = [self.queue.take() for _ in range(len(self.queue))]
            self._dropped += len(running) + len(queued)
            self.free_lanes = self._limits.lanes
            for job in (*running, *queued):
                job.refuse(SealgateError(Reason.RUN_HUNG, "its batch was abandoned as hung"))
            self._drained.notify_all()

    def counts(self) -> BatcherCounts:
        with self._mutex:
            done = self._requests, self._batches, self._rows, self._dropped, self._waited_ns
            return BatcherCounts(*done, self.queue.rows)

    def _is_idle(self) -> bool:
        return self.free_lanes == self._limits.lanes

    def refusal_of(self, request: QueueItem, ahead: Sequence[QueueItem]) -> SealgateError | None:
        """QUEUE_FULL if a request like this one would not be queued now, behind those `ahead`; None
        if it would.
        """
        with self._mutex:
            if self.queue.could_take(request, ahead):
                return None
            return self._full()

    def _enter(self, job: Job[Rows, Part]) -> "threading.Lock | None":
        """Take a free lane (None) or a place in the queue, to wait at the returned gate.

        A lane is only free while nobody queues.
        """
        with self._mutex:
            self._check_open(job)
            if self.free_lanes:
                self.free_lanes -= 1
                return None
            gate = Gate()
            gate.acquire()
            self._queue(job, gate)
            return gate

    def _enter_all(self, burst: Burst[Rows, Part]) -> Job[Rows, Part] | None:
        """Queue a burst. If a lane is free, take it, and return the request that leads first."""
        with self._mutex:
            if len(burst.jobs) == 1 and self.free_lanes:
                return self._lead_alone(burst.jobs[0], burst.gate)
            for job in burst.jobs:
                try:
                    self._check_open(job)
                    self._queue(job, burst.gate)
                except SealgateError as refusal:
                    job.failure = refusal
            if not self.free_lanes or not self.queue:
                return None
            self.free_lanes -= 1
            leader = self.queue.take()
            leader.state = JobState.LEADING
            return leader

    def _lead_alone(self, job: Job[Rows, Part], gate: JobGate) -> Job[Rows, Part] | None:
        """Take a free lane for a request that need not queue: nobody does."""
        try:
            self._check_open(job)
        except SealgateError as refusal:
            job.failure = refusal
            return None
        self.free_lanes -= 1
        job.gate, job.state = gate, JobState.LEADING
        return job

    def _check_open(self, job: Job[Rows, Part]) -> None:
        if self._closed:
            raise SealgateError(self._closed)
        self.pace.came(job.entered / 1e9, job.rows)

    def _queue(self, job: Job[Rows, Part], gate: JobGate) -> None:
        """Raises QUEUE_FULL."""
        if not self.queue.has_room(job):
            self._clear_room(job)
        job.gate = gate
        job.state = JobState.QUEUED
        self.queue.append(job)
        if self.awaited_rows and self.queue.rows >= self.awaited_rows:
            self.awaited_rows = 0
            self.arrived.notify()

    def _bound_wait(self) -> None:
        """Let the queue hold what is run within the longest wait, but two full batches at least:
        one request may be as large as a batch, and must not keep all others out, nor they it.
        """
        limits = self._limits
        if limits.wait is not None:
            rows = self.pace.rows_within(limits.wait, self._largest())
            self.queue.room = int(min(limits.queue_rows, max(2 * limits.max_rows, rows)))

    def _largest(self) -> int:
        """As many rows as a batch has where any number waits: fewer than the most, where others are
        preferred or memory has no room.
        """
        return self._sizing.most(1, self._limits.queue_rows)

    def _clear_room(self, job: Job[Rows, Part]) -> None:
        """Remove the newest request of a greedier caller, or raise QUEUE_FULL."""
        found = self.queue.make_room(job)
        if not found:
            raise self._full()
        for other in found:
            self._dropped += 1
            other.refuse(self._full())

    def _full(self) -> SealgateError:
        rows = self.queue.rows
        retry = self.pace.until_gone(rows, self._largest()) or None
        return SealgateError(Reason.QUEUE_FULL, f"{rows} rows wait", retry)

    def _withdraw(self, job: Job[Rows, Part]) -> bool:
        """Take `job` out of the queue if it is still there; whether it was told to lead."""
        with self._mutex:
            if job.state is JobState.QUEUED:
                self.queue.remove(job)
                self._dropped += 1
                job.state = JobState.RUNNING
                job.failure = SealgateError(Reason.DEADLINE_TOO_SHORT, "in the queue")
            return job.state is JobState.LEADING

    def _take_along(self, batch: list[Job[Rows, Part]], waits: bool) -> None:
        """Fill a batch from the queue; `waits` says whether others may still come."""
        rows = batch[0].rows
        with self._mutex:
            if waits:
                self._await_more(batch[0])
            if self.is_given_up:
                raise SealgateError(Reason.RUN_HUNG)
            if len(self.queue):
                most = self._sizing.most(rows, self.queue.rows)
                for member in self.queue.take_along(batch[0].bucket, most - rows):
                    member.state = JobState.RUNNING
                    rows += member.rows
                    batch.append(member)
            self._running[id(batch)] = time.monotonic(), batch

    def _await_more(self, head: Job[Rows, Part]) -> None:
        """Wait for more rows if that pays. Newcomers take a free lane, if there is one."""
        if not self._limits.delay or self.awaited_rows or self.free_lanes:
            return
        rows = head.rows + self.queue.rows
        missing, patience = self._sizing.patience(self.pace, rows, (head, *self.queue))
        if missing > 0 and patience > 0:
            self.awaited_rows = self.queue.rows + missing
            self.arrived.wait_for(lambda: not self.awaited_rows, patience)
            self.awaited_rows = 0

    def pass_on(self, batch: list[Job[Rows, Part]], seconds: float = 0.0) -> None:
        """Give the lane to the first in the queue, or free it; then let the batch's threads go."""
        done = [job for job in batch if job.part is not None]
        rows = sum(job.rows for job in done)
        heir = None
        with self._mutex:
            if self.is_given_up:  # the lane is gone, and the others have been told
                return
            self._running.pop(id(batch), None)
            self._requests += len(done)
            self._dropped += len(batch) - len(done)
            self._batches += bool(done)
            self._rows += rows
            if seconds:
                self.pace.ran(rows, seconds)
                self._bound_wait()
            self._waited_ns += sum(job.waited for job in done)
            if self.queue:
                heir = self.queue.take()
                heir.state = JobState.LEADING
            else:
                self.free_lanes += 1
                if self._closed and self._is_idle():
                    self._drained.notify_all()
        if heir is not None and heir.gate is not None:
            heir.gate.release()
        for job in batch[1:]:
            if job.gate is not None:
                job.gate.release()
