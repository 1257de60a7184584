"""What bounds a batcher, and what it counts."""

from dataclasses import dataclass
from typing import Self

from inference.batching import LEVELS, Batching


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows to a batch and to each level of the queue; seconds that a run may wait; runs at once.

    `preferred` are sizes, ascending: a batch that could have one takes no more than the largest
    such. A request may take `timeout` seconds in all, and at `levels` 1 none overtakes.
    """

    max_rows: int
    queue_rows: int
    delay: float = 0.0
    lanes: int = 1
    preferred: tuple[int, ...] = ()
    timeout: float | None = None
    levels: int = LEVELS

    def __post_init__(self) -> None:
        if self.max_rows < 1 or self.queue_rows < 1 or self.lanes < 1 or self.delay < 0:
            raise ValueError("limits must be positive")

    @classmethod
    def of(cls, batching: Batching, lanes: int) -> Self:
        """What `batching` says, on a machine that has room for `lanes` runs at once."""
        return cls(
            batching.max_rows,
            batching.queue_rows,
            batching.delay_us / 1e6,
            min(lanes, batching.instances or lanes),
            batching.preferred_rows,
            batching.timeout_us / 1e6 or None,
            batching.priority_levels or LEVELS,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What a batcher has done so far.

    `dropped` requests ran out of time, lost their caller, made room, or were in a batch that
    failed. `waited_ns` is how long the others took, together, from their arrival until they ran.
    `waiting` rows wait at this moment.
    """

    requests: int = 0
    batches: int = 0
    rows: int = 0
    dropped: int = 0
    waited_ns: int = 0
    waiting: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.batches + other.batches,
            self.rows + other.rows,
            self.dropped + other.dropped,
            self.waited_ns + other.waited_ns,
            self.waiting + other.waiting,
        )
