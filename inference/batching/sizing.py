"""How large a batch may be, and for how long it pays to wait for more of it."""

import math
import time
from collections.abc import Sequence
from typing import Any

from inference.batching.capacity import RowCapacity
from inference.batching.cost_model import RateEstimate
from inference.batching.limits import BatcherLimits
from inference.batching.queue import Job


class BatchSizing:
    """By a batcher's limits, and the memory that there is."""

    def __init__(self, limits: BatcherLimits, capacity: RowCapacity | None) -> None:
        self._limits = limits
        self._capacity = capacity

    def most(self, rows: int, waiting: int) -> int:
        """The largest number of rows of a batch whose first request has `rows`, while so many
        wait.
        """
        limits = self._limits
        most = self._capacity.rows() if self._capacity is not None else limits.max_rows
        if not limits.preferred:
            return most
        available = min(most, rows + waiting)
        sizes = [size for size in limits.preferred if rows <= size <= available]
        return sizes[-1] if sizes else most

    def patience(
        self, pace: RateEstimate, rows: int, jobs: Sequence[Job[Any, Any]]
    ) -> tuple[int, float]:
        """For how many rows beyond the `rows` of these requests to wait, and for how many seconds,
        so that none misses its deadline.
        """
        missing = min(pace.worth_waiting_for(), self._limits.max_rows) - rows
        if missing <= 0:
            return missing, 0.0
        ends = [job.deadline for job in jobs if job.deadline is not None]
        spare = min(ends, default=math.inf) - time.monotonic() - pace.seconds(rows + missing)
        return missing, min(self._limits.delay, missing * pace.gap, spare)
