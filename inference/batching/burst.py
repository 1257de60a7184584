"""A burst: requests that one thread brings to the batcher together, and waits for together."""

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Generic

from inference.batching.queue import Job, JobState, Part, Rows
from sealgate.reasons import SealgateError


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
        """What became of each request, in order."""
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
