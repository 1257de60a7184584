"""Batch sizes: those that memory allows, the fixed ones of padded batches, and which one pays.

`RowCapacity` halves the rows per run after memory ran out, and tries more again later.

`BatchSizes` makes a row's result independent of its batch. Kernels round differently for a single
row, for a few, for the rest after the last full tile, and for the first or second row of a tile of
two; the numbers themselves do not matter. So rows are put into places of a batch that were found to
treat all rows alike, and the rest is filled with copies. Fixed sizes are also what CUDA graphs can
be captured for.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from inference.batching.cost_model import RateEstimate
from inference.batching.job import Job
from inference.batching.limits import BatcherLimits
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]

RECOVERY_SECONDS = 60.0


class RowCapacity:
    """A remembered limit of rows per run, at most `most`. Safe for many threads."""

    def __init__(
        self,
        most: int,
        recovery: float = RECOVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The limit doubles after each `recovery` seconds without running out of memory."""
        self._most = most
        self._recovery = recovery
        self._clock = clock
        self._mutex = threading.Lock()
        self._rows = most
        self._until = 0.0

    def rows(self) -> int:
        """How many rows to run at once."""
        if self._rows == self._most:
            return self._most
        with self._mutex:
            now = self._clock()
            if now >= self._until:
                self._rows = min(self._most, 2 * self._rows)
                self._until = now + self._recovery
            return self._rows

    def halve(self, rows: int) -> int:
        """Halve the limit after `rows` rows, two or more, ran out of memory; returns the
        new limit.
        """
        with self._mutex:
            self._rows = max(1, min(self._rows, rows // 2))
            self._until = self._clock() + self._recovery
            return self._rows

    def run(
        self, x: Array, work: Callable[[Array], tuple[Array, ...]], halved: Callable[[], None]
    ) -> tuple[Array, ...]:
        """The results of `work` for the rows of `x`, run in parts that memory allows.

        If `work` raises OUT_OF_MEMORY for two rows or more, it is called again with half of them,
        and `halved` is told.
        """
        size = min(len(x), self.rows())
        if size == len(x):
            try:
                return work(x)
            except SealgateError as refusal:
                if refusal.reason is not Reason.OUT_OF_MEMORY or size == 1:
                    raise
            size = self.halve(size)
            halved()
        parts = [self.run(x[at : at + size], work, halved) for at in range(0, len(x), size)]
        return tuple(np.concatenate(results) for results in zip(*parts, strict=True))


Work: TypeAlias = Callable[[Array], tuple[Array, ...]]

# Full tiles of the processor's kernels are of 4, 6, 8, 12 or 16 rows.
_LEAST = 16
_SPACINGS = (1, 2, 4)
# Whether sizes are steady does not depend on the numbers; a few more rows are tried anyway.
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """The fixed sizes to which batches are padded, ascending; without sizes they run as they come.

    `stride` is the number of places from one row to the next.
    """

    sizes: tuple[int, ...] = ()
    spacing: int = 1

    @classmethod
    def upto(cls, most: int, spacing: int = 1) -> Self:
        """The powers of two from 16 to `most` places, and `most` itself."""
        sizes = [size for power in range(most.bit_length()) if (size := 1 << power) >= _LEAST]
        return cls(tuple(sorted({*sizes, most})), spacing)

    @classmethod
    def steady(cls, most: int, x: Array, work: Work) -> Self:
        """The closest rows, of batches up to `most` places, for which `work` gives the same bits at
        any place of any size, as the first rows of `x` show; one row at a time where none do.
        """
        for spacing in _SPACINGS:
            found = cls.upto(most, spacing)
            if spacing <= most and all(
                found._is_steady(row[np.newaxis], work) for row in x[:_SHOWN]
            ):
                return found
        return cls((1,))

    def run(self, x: Array, work: Work, room: int = sys.maxsize) -> tuple[Array, ...]:
        """The results of `work` for the rows of `x`, with others between and behind them. No size
        has more places than there is `room` for; where none is so small, rows are run one by one.
        """
        if not self.sizes:
            return work(x)
        if room < self.sizes[-1]:
            fitting = tuple(size for size in self.sizes if size <= room)
            sizes = replace(self, sizes=fitting) if fitting else BatchSizes((1,))
            return sizes.run(x, work)
        most = max(1, self.sizes[-1] // self.spacing)
        parts = [self._filled(x[at : at + most], work) for at in range(0, len(x), most)]
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(results) for results in zip(*parts, strict=True))

    def _filled(self, x: Array, work: Work) -> tuple[Array, ...]:
        rows = np.repeat(x, self.spacing, axis=0) if self.spacing > 1 else x
        size = next(size for size in self.sizes if size >= len(rows))
        if size > len(rows):
            rows = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        places = slice(0, len(x) * self.spacing, self.spacing)
        return tuple(part[places] for part in work(rows))

    def _is_steady(self, row: Array, work: Work) -> bool:
        """Whether a row's answer is bit-identical in batches of different sizes."""
        seen = set()
        for size in self.sizes:
            parts = work(np.repeat(row, size, axis=0))
            seen |= {
                tuple(part[place].tobytes() for part in parts)
                for place in range(0, size, self.spacing)
            }
        return len(seen) == 1


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
