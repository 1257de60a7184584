"""Cost model: measured batch times and arrival rates, and what they say about waiting.

A batch of n rows is modelled to cost `fixed + per_row * n` seconds (least squares over the last
runs, with older ones fading). Two decisions follow.

*Whether to wait.* Let n rows be at hand, `gap` the expected time until the next row arrives, and L
the number of parallel runs. A row that arrives during the run waits until it ends, on average a
share 1/L of it if there are other lanes, and is then run at another `fixed`. Waiting for it saves
that row `fixed / L - gap - n * per_row * (1 - 1/L)`, and costs each of the n rows `gap + per_row`.
So waiting pays while

    n < (fixed / L - gap) / (gap + per_row * (2 - 1/L))

For L = 1 and n = 1 this means gap < (fixed - per_row) / 2, which no evenly spread load below twice
the unbatched capacity reaches: then the rows that gathered during the last run are the best batch,
and waiting is for bursts only. (Deb and Serfozo, 1973, show that such a control limit is optimal.)

*Whether a deadline can be met.* A run that would take twice the remaining time, by the measured
cost, is not begun. An estimate that refuses everything would never be corrected, so each batch of
which nothing is left lowers it.
"""

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
class BatchCosts:
    """Seconds by number of rows, both ascending; `lanes` such batches run at once."""

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
        other work on the machine only adds to it.
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
        """The time of `rows` rows in as few batches as they need, one after the other."""
        most, dearest = self.batches[-1]
        whole, rest = divmod(rows, most)
        return whole * dearest + self._batch(rest)

    def _batch(self, rows: int) -> float:
        """The time of one batch, interpolated between measured sizes."""
        if not rows:
            return 0.0
        place = bisect_left(self.batches, rows, key=lambda batch: batch[0])
        above, dear = self.batches[place]
        if above == rows or not place:
            return dear
        below, cheap = self.batches[place - 1]
        return cheap + (dear - cheap) * (rows - below) / (above - below)


_FADING = 0.95
# Runs that must have been seen before an estimate counts for anything.
_ENOUGH = 8
# The weight of the newest gap: a burst shows within a few requests.
_NEWEST = 0.25
_DOUBT = 0.9


class RateEstimate:
    """Estimates run times and arrival rates of one batcher, in seconds. Not thread-safe by
    itself.
    """

    __slots__ = (
        "_came",
        "_lanes",
        "_n",
        "_runs",
        "_x",
        "_xx",
        "_xy",
        "_y",
        "fixed",
        "gap",
        "per_row",
    )

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self._came = 0.0
        self._runs = 0
        self._n = self._x = self._xx = self._y = self._xy = 0.0
        self.fixed = self.per_row = 0.0
        self.gap = float("inf")

    def came(self, now: float, rows: int) -> None:
        """`rows` rows arrived at `now`. A gap counts at most twice the cost of a batch: it shows
        that the burst is over, and longer gaps show no more.
        """
        gap = min((now - self._came) / rows, 2 * (self.fixed + self.per_row))
        self._came = now
        self.gap = gap if self.gap == float("inf") else self.gap + _NEWEST * (gap - self.gap)

    def ran(self, rows: int, seconds: float) -> None:
        """A batch of `rows` rows took `seconds`."""
        self._runs += 1
        self._n = n = _FADING * self._n + 1
        self._x = x = _FADING * self._x + rows
        self._y = y = _FADING * self._y + seconds
        self._xx = xx = _FADING * self._xx + rows * rows
        self._xy = xy = _FADING * self._xy + rows * seconds
        spread = n * xx - x * x
        # One size alone does not show the fixed cost: assume none, so nobody waits.
        slope = (n * xy - x * y) / spread if spread > 1e-3 * x * x else y / x
        self.per_row = min(max(slope, 0.0), y / x)
        self.fixed = (y - self.per_row * x) / n

    def worth_waiting_for(self) -> int:
        """The number of rows beyond which waiting for more does not pay; 0 if it never does."""
        if self._runs < _ENOUGH:
            return 0
        lanes = self._lanes
        saved = self.fixed / lanes - self.gap
        return int(saved / (self.gap + self.per_row * (2 - 1 / lanes) + 1e-9)) if saved > 0 else 0

    def seconds(self, rows: int) -> float:
        """The expected time of a batch of `rows` rows; 0 while unknown."""
        return self.fixed + self.per_row * rows if self._runs >= _ENOUGH else 0.0

    def until_gone(self, rows: int, most: int) -> float:
        """The expected time for `rows` waiting rows, in batches of `most` on all lanes; 0 while
        unknown.
        """
        if self._runs < _ENOUGH:
            return 0.0
        return (-(-rows // most) * self.fixed + rows * self.per_row) / self._lanes

    def rows_within(self, seconds: float, most: int) -> float:
        """How many rows are run in `seconds`, in batches of `most` on all lanes; infinite while
        unknown. Small batches do not tell: what waits beyond a full one makes them large.
        """
        each = self.fixed / most + self.per_row
        known = self._runs >= _ENOUGH and 2 * self._x >= most * self._n and each > 0
        return seconds * self._lanes / each if known else float("inf")

    def least(self, rows: int) -> float:
        """The time that a batch of `rows` rows surely takes: half of the expected time."""
        return self.seconds(rows) / 2

    def doubt(self) -> None:
        """All of a batch was refused because of this estimate, so no run corrects it: lower it."""
        for name in ("fixed", "per_row", "_y", "_xy"):
            setattr(self, name, _DOUBT * getattr(self, name))
