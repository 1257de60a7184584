"""What batches of a version cost where it runs, measured when it was made ready."""

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_REPEATS = 3
# Sizes beyond what this allows for are taken to cost as much a row as the largest that was run.
_BUDGET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds by rows, both ascending; `lanes` such batches run at once."""

    batches: tuple[tuple[int, float], ...]
    lanes: int = 1

    def __post_init__(self) -> None:
        sizes = [rows for rows, _ in self.batches]
        if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)) or self.lanes < 1:
            raise ValueError("sizes of batches ascend from 1, and lanes are positive")
        if not all(0 < seconds < float("inf") for _, seconds in self.batches):
            raise ValueError("a batch takes some time")

    @classmethod
    def measured(
        cls,
        work: Callable[[Array], object],
        x: Array,
        most: int,
        lanes: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Self:
        """Run `work` for 1, 2, 4, … and `most` of the rows `x`, and keep the best time of each:
        what else the machine does only ever adds.
        """
        begun, found, slowest = clock(), [], 0.0
        for rows in sorted({*(1 << power for power in range(most.bit_length())), most}):
            part = np.resize(x, (rows, *x.shape[1:]))
            times = []
            for _ in range(_REPEATS):
                start = clock()
                work(part)
                times.append(clock() - start)
            # A larger batch is not cheaper, whatever the clock says.
            slowest = max(slowest, min(times), 1e-9)
            found.append((rows, slowest))
            if clock() - begun > _BUDGET_SECONDS:
                break
        return cls(tuple(found), lanes)

    def seconds(self, rows: int) -> float:
        """What `rows` rows take, in as few batches as they need, one after the other."""
        most, dearest = self.batches[-1]
        whole, rest = divmod(rows, most)
        return whole * dearest + self._batch(rest)

    def _batch(self, rows: int) -> float:
        """A batch no larger than the largest; between sizes, in proportion."""
        if not rows:
            return 0.0
        place = bisect_left(self.batches, rows, key=lambda batch: batch[0])
        above, dear = self.batches[place]
        if above == rows or not place:
            return dear
        below, cheap = self.batches[place - 1]
        return cheap + (dear - cheap) * (rows - below) / (above - below)
