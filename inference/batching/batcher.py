"""Batcher: groups requests of many threads into batches, without a thread of its own.

If a lane is free, the caller becomes the leader and runs a batch on its own thread; otherwise it
waits in the queue. When a run ends, its thread wakes the first request in the queue, which leads
next (a form of flat combining: Hendler et al., SPAA 2010). Batches therefore grow with the load, a
lone request pays for no thread switch, no worker can die, and a batcher needs no shutdown. Urgent
requests come first, and callers share the queue evenly: see `inference.batching.queue`.

Before a run, the leader yields the processor. Requests that are ready to join reach the queue and
are included, even on a single core; if there are none, this costs a microsecond. While requests
keep coming the leader yields again, but never longer than the fixed cost of a batch, which each
joining request saves. A leader waits longer, at most `delay` seconds, only if the measured arrival
rate says that it pays: see `inference.batching.cost_model`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from inference.batching.burst import Burst
from inference.batching.capacity import RowCapacity
from inference.batching.cost_model import RateEstimate
from inference.batching.limits import BatcherCounts, BatcherLimits
from inference.batching.queue import (
    DEFAULT_OPTIONS,
    FairQueue,
    Job,
    JobGate,
    JobState,
    Part,
    RequestOptions,
    Rows,
)
from inference.batching.sizing import BatchSizing
from sealgate.reasons import Reason, SealgateError

Gate = threading.Lock
# A thread that is ready to join may not be the next to run.
_FRUITLESS = 3


class Batcher(Generic[Rows, Part]):
    """Runs `work` on batches; it takes the rows of each request and returns a part for each."""

    def __init__(
        self,
        work: Callable[[list[Rows]], Sequence[Part]],
        limits: BatcherLimits,
        capacity: RowCapacity | None = None,
    ) -> None:
        """`capacity` limits batches, but not single requests, to what memory allows."""
        self._work = work
        self._limits = limits
        self._mutex = threading.Lock()
        self.arrived = threading.Condition(self._mutex)
        self._drained = threading.Condition(self._mutex)
        self.queue: FairQueue[Job[Rows, Part]] = FairQueue(limits.queue_rows)
        self.pace = RateEstimate(limits.lanes)
        self._sizing = BatchSizing(limits, capacity)
        self.free_lanes = limits.lanes
        self.awaited_rows = 0
        self._running: dict[int, tuple[float, list[Job[Rows, Part]]]] = {}
        self._closed: Reason | None = None
        self._requests = self._batches = self._rows = self._dropped = self._waited_ns = 0

    def submit(
        self,
        x: Rows,
        options: RequestOptions = DEFAULT_OPTIONS,
        bucket: int = 0,
    ) -> Part:
        """Run the rows of `x` [n, …] in some batch and return this request's part of the result.

        Only requests of the same `bucket` share a batch.
        Raises: BATCH_TOO_LARGE, QUEUE_FULL, DRAINING; DEADLINE_TOO_SHORT if the deadline passes
        first, or by the measured times surely would, or if `active` says no; the reason of a failed
        run, or INTERNAL; RUN_HUNG if the run was abandoned.
        """
        job = self._new_job(x, options, bucket)
        gate = self._enter(job)
        if gate is None or self._wait(job, gate):
            self._lead(job)
        return job.result()

    def submit_all(
        self, requests: Iterable[tuple[Rows, RequestOptions, int]]
    ) -> list[Part | SealgateError]:
        """Run a burst of requests, each given as `submit` takes it, on this thread; return for each
        its part of the result or why there is none.

        They queue like requests of as many threads, so callers share, urgent requests overtake, and
        requests of other threads may run in the same batches.
        """
        burst: Burst[Rows, Part] = Burst()
        for x, options, bucket in requests:
            try:
                burst.add(self._new_job(x, options, bucket))
            except SealgateError as refusal:
                burst.refuse(refusal)
        leader = self._enter_all(burst)
        while leader is not None or not burst.is_settled():
            if leader is not None:
                self._lead(leader, alone=False)
                burst.led(leader)
            else:
                for job in burst.wait():
                    self._withdraw(job)
            leader = burst.leader()
        return burst.results()

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

    def _new_job(self, x: Rows, options: RequestOptions, bucket: int) -> Job[Rows, Part]:
        limits = self._limits
        job: Job[Rows, Part] = Job(x, options, bucket)
        job.urgent = options.urgent and limits.levels > 1
        if limits.timeout is not None:
            end = job.entered / 1e9 + limits.timeout
            job.deadline = end if job.deadline is None else min(job.deadline, end)
        if not 1 <= job.rows <= limits.max_rows:
            raise SealgateError(Reason.BATCH_TOO_LARGE, f"{job.rows} rows")
        return job

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

    def _clear_room(self, job: Job[Rows, Part]) -> None:
        """Remove the newest request of a greedier caller, or raise QUEUE_FULL."""
        retry = self.pace.until_gone(self.queue.rows, self._limits.max_rows) or None
        full = f"{self.queue.rows} rows wait"
        for other in self.queue.make_room(job):
            self._dropped += 1
            other.refuse(SealgateError(Reason.QUEUE_FULL, full, retry))
        if not self.queue.has_room(job):
            raise SealgateError(Reason.QUEUE_FULL, full, retry)

    def _wait(self, job: Job[Rows, Part], gate: "threading.Lock") -> bool:
        """Wait for the result (false) or for being told to lead (true)."""
        left = -1.0 if job.deadline is None else max(0.0, job.deadline - time.monotonic())
        try:
            opened = gate.acquire(timeout=left)
        except BaseException:  # an interrupted thread must neither be waited for nor keep the lane
            if self._withdraw(job):
                self.pass_on([])
            raise
        # Who has run out of time but was just told to lead must, for the sake of those behind.
        if not opened and not self._withdraw(job):
            raise job.failure or SealgateError(Reason.DEADLINE_TOO_SHORT, "in the queue")
        return job.state is JobState.LEADING

    def _withdraw(self, job: Job[Rows, Part]) -> bool:
        """Take `job` out of the queue if it is still there; whether it was told to lead."""
        with self._mutex:
            if job.state is JobState.QUEUED:
                self.queue.remove(job)
                self._dropped += 1
                job.state = JobState.RUNNING
                job.failure = SealgateError(Reason.DEADLINE_TOO_SHORT, "in the queue")
            return job.state is JobState.LEADING

    def _lead(self, job: Job[Rows, Part], alone: bool = True) -> None:
        """Run one batch, with `job` at its head, and pass the lane on whatever happens.

        The leader of a burst is not `alone`: who can join it already waits.
        """
        batch, seconds = [job], 0.0
        try:
            if alone:
                self._let_others_join(job.rows)
            self._take_along(batch)
            seconds = self._run(batch)
        except Exception as error:  # whatever it was, it must reach each of the batch's threads
            reason = error.reason if isinstance(error, SealgateError) else Reason.INTERNAL
            for member in batch:
                # Each its own: an exception is not to be raised in two threads.
                member.failure = SealgateError(reason, f"a batch failed: {error!r}")
        finally:
            self.pass_on(batch, seconds)

    def _let_others_join(self, rows: int) -> None:
        """Yield until no more requests arrive, or a batch is full."""
        end = time.monotonic() + self.pace.fixed
        most, waiting, fruitless = self._limits.max_rows - rows, 0, 0
        while fruitless < _FRUITLESS:
            os.sched_yield()
            before, waiting = waiting, self.queue.rows
            fruitless = 0 if waiting > before else fruitless + 1
            if not 0 < waiting < most or time.monotonic() >= end:
                return

    def _take_along(self, batch: list[Job[Rows, Part]]) -> None:
        rows = batch[0].rows
        with self._mutex:
            self._await_more(batch[0])
            if self.is_given_up:
                raise SealgateError(Reason.RUN_HUNG)
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

    def _run(self, batch: list[Job[Rows, Part]]) -> float:
        """Run what is still wanted; returns how many seconds that took."""
        ran = time.monotonic_ns()
        now = ran / 1e9
        least = self.pace.least(sum(job.rows for job in batch))
        wanted = []
        for job in batch:
            if not job.is_wanted(now):
                job.failure = SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
            elif job.deadline is not None and job.deadline - now < least:
                job.failure = SealgateError(
                    Reason.DEADLINE_TOO_SHORT, "its run would exceed the deadline"
                )
                with self._mutex:
                    self.pace.doubt()
            else:
                wanted.append(job)
        if not wanted:
            return 0.0
        parts = self._work([job.x for job in wanted])
        for job, part in zip(wanted, parts, strict=True):
            job.part = part
            job.waited = ran - job.entered
        return (time.monotonic_ns() - ran) / 1e9

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
