"""A request in the batcher: how it is scheduled, its state, and its part of the result."""

import time
from collections.abc import Callable, Sized
from enum import Enum, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

from inference.observability import tracing
from sealgate.reasons import Reason, SealgateError

# A request brings rows, whatever they are, and gets its part of the result.
Rows = TypeVar("Rows", bound=Sized)
Part = TypeVar("Part")


class RequestOptions(NamedTuple):
    """How one request is scheduled. It may run until `deadline`, in seconds of `time.monotonic`.

    `active` is asked once, just before the run, whether the caller still waits. An `urgent` request
    overtakes others in the queue, within bounds. Each `caller` has an equal share of the queue.
    """

    deadline: float | None = None
    active: Callable[[], bool] | None = None
    urgent: bool = False
    caller: str = ""


DEFAULT_OPTIONS = RequestOptions()


class JobState(Enum):
    """A request's state. RUNNING: in a batch, or failed; its thread only has to be released."""

    QUEUED = auto()
    LEADING = auto()
    RUNNING = auto()


class JobGate(Protocol):
    """Where a request's thread waits."""

    def release(self) -> object:
        """Let the thread look at its request."""
        ...


class Job(Generic[Rows, Part]):
    """One request in the batcher. `gate` opens when its thread may continue; `entered` is in ns."""

    __slots__ = (
        "active",
        "bucket",
        "caller",
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

    def __init__(self, x: Rows, options: RequestOptions, bucket: int = 0) -> None:
        self.x = x
        self.rows = len(x)
        self.deadline, self.active, self.urgent, self.caller = options
        self.bucket = bucket
        self.entered = time.monotonic_ns()
        self.waited = 0
        self.state = JobState.RUNNING
        self.gate: JobGate | None = None
        self.part: Part | None = None
        self.failure: SealgateError | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is a result, or a reason why there is none."""
        return self.part is not None or self.failure is not None

    def is_wanted(self, now: float) -> bool:
        """Whether anyone still waits for the result."""
        if self.deadline is not None and now >= self.deadline:
            return False
        return self.active is None or self.active()

    def result(self) -> Part:
        """The request's part of the result. Raises SealgateError where there is none."""
        if self.part is None:
            raise self.failure or SealgateError(Reason.INTERNAL, "its batch was abandoned")
        if tracing.is_on():
            ran = self.entered + self.waited
            tracing.past("queue", self.entered, ran)
            tracing.past("run", ran, time.monotonic_ns())
        return self.part

    def refuse(self, refusal: SealgateError) -> None:
        """Let the thread that waits at the gate continue with an error."""
        self.failure = refusal
        self.state = JobState.RUNNING
        if self.gate is not None:
            self.gate.release()
