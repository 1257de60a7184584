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

from inference.batching.batch_sizing import RowCapacity
from inference.batching.job import DEFAULT_OPTIONS, Job, JobState, Part, RequestOptions, Rows
from inference.batching.lanes import Burst, LaneQueue
from inference.batching.limits import BatcherLimits
from sealgate.reasons import Reason, SealgateError

# A thread that is ready to join may not be the next to run.
_FRUITLESS = 3


class Batcher(LaneQueue[Rows, Part]):
    """Runs `work` on batches; it takes the rows of each request and returns a part for each."""

    def __init__(
        self,
        work: Callable[[list[Rows]], Sequence[Part]],
        limits: BatcherLimits,
        capacity: RowCapacity | None = None,
    ) -> None:
        """`capacity`: see `LaneQueue`."""
        super().__init__(limits, capacity)
        self._work = work

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

    def _new_job(self, x: Rows, options: RequestOptions, bucket: int) -> Job[Rows, Part]:
        limits = self._limits
        job: Job[Rows, Part] = Job(x, options, bucket)
        if limits.timeout is not None:
            end = job.entered / 1e9 + limits.timeout
            job.deadline = end if job.deadline is None else min(job.deadline, end)
        if not 1 <= job.rows <= limits.max_rows:
            raise SealgateError(Reason.BATCH_TOO_LARGE, f"{job.rows} rows")
        return job

    def _wait(self, job: Job[Rows, Part], gate: "threading.Lock") -> bool:
        """Wait for the result (false) or for being told to lead (true)."""
        left = -1.0 if job.deadline is None else max(0.0, job.deadline - time.monotonic())
        try:
            opened = gate.acquire(timeout=left)
        except BaseException:  # an interrupted thread must neither be waited for nor keep the lane
            if self._withdraw(job):
                self.pass_on([])
            raise
        # A request that was just told to lead must, even if its time has run out: others wait.
        if not opened and not self._withdraw(job):
            raise job.failure or SealgateError(Reason.DEADLINE_TOO_SHORT, "in the queue")
        return job.state is JobState.LEADING

    def _lead(self, job: Job[Rows, Part], alone: bool = True) -> None:
        """Run one batch, with `job` at its head, and pass the lane on whatever happens.

        The leader of a burst is not `alone`: the requests that can join it already wait, and the
        next burst comes on this same thread.
        """
        batch, seconds = [job], 0.0
        try:
            if alone:
                self._let_others_join(job.rows)
            self._take_along(batch, waits=alone)
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

    def _run(self, batch: list[Job[Rows, Part]]) -> float:
        """Run what is still wanted; returns how many seconds that took."""
        ran = time.monotonic_ns()
        now = ran / 1e9
        for job in batch:
            if not job.is_wanted(now):
                job.failure = SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
        left = [job for job in batch if job.failure is None]
        least, wanted = self.pace.least(sum(job.rows for job in left)), []
        for job in left:
            if job.deadline is not None and job.deadline - now < least:
                job.failure = SealgateError(
                    Reason.DEADLINE_TOO_SHORT, "its run would exceed the deadline"
                )
            else:
                wanted.append(job)
        if not wanted:
            # Where any runs, that corrects the estimate.
            if left:
                with self._mutex:
                    self.pace.doubt()
            return 0.0
        parts = self._work([job.x for job in wanted])
        for job, part in zip(wanted, parts, strict=True):
            job.part = part
            job.waited = ran - job.entered
        return (time.monotonic_ns() - ran) / 1e9
