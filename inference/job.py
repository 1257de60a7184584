"""A request on its way through a batcher."""

import threading
import time
from collections.abc import Callable, Sized
from enum import Enum, auto
from typing import Generic, TypeVar

from inference import tracing
from sealgate.reasons import Reason, Refusal

# A request brings rows, whatever they are, and gets its part of the result.
Rows = TypeVar("Rows", bound=Sized)
Part = TypeVar("Part")


class State(Enum):
    """Where a request is. RUNNING: in a batch, or refused; its thread need only be let go."""

    QUEUED = auto()
    LEADING = auto()
    RUNNING = auto()


class Job(Generic[Rows, Part]):
    """One request; `gate` opens when its thread is to go on. `entered` is in nanoseconds."""

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

    def __init__(
        self,
        x: Rows,
        deadline: float | None,
        active: Callable[[], bool] | None,
        urgent: bool,
        caller: str,
        bucket: int = 0,
    ) -> None:
        self.x = x
        self.rows = len(x)
        self.urgent = urgent
        self.caller = caller
        self.bucket = bucket
        self.entered = time.monotonic_ns()
        self.waited = 0
        self.deadline = deadline
        self.active = active
        self.state = State.RUNNING
        self.gate: threading.Lock | None = None
        self.part: Part | None = None
        self.failure: Refusal | None = None

    def is_wanted(self, now: float) -> bool:
        """Whether anyone still waits for the result."""
        if self.deadline is not None and now >= self.deadline:
            return False
        return self.active is None or self.active()

    def result(self) -> Part:
        """Its part, once its thread goes on. Raises Refusal: why it has none, or else INTERNAL."""
        if self.part is None:
            raise self.failure or Refusal(Reason.INTERNAL, "its batch was abandoned")
        if tracing.is_on():
            ran = self.entered + self.waited
            tracing.past("queue", self.entered, ran)
            tracing.past("run", ran, time.monotonic_ns())
        return self.part

    def refuse(self, refusal: Refusal) -> None:
        """Let its thread, which waits at the gate, go on with a refusal."""
        self.failure = refusal
        self.state = State.RUNNING
        if self.gate is not None:
            self.gate.release()
