"""How long batches take and how fast requests come, measured, and what follows from both.

A batch of n rows is taken to cost `fixed + per_row * n` seconds (least squares over the last runs,
older ones fading). From that follow two things.

*Whether to wait.* Let n rows be at hand, `gap` the expected time until the next row comes, and L
how many batches run at once. A row that comes during the run must wait until it ends, a share 1/L
of it on average where there are other lanes, and then be run, at `fixed` anew. Waiting for it
instead saves that row `fixed / L - gap - n * per_row * (1 - 1/L)`, and costs each of the n rows
`gap + per_row`. So waiting pays while

    n < (fixed / L - gap) / (gap + per_row * (2 - 1/L))

At L = 1 and n = 1 that means gap < (fixed - per_row) / 2, which no evenly spread load below twice
the unbatched capacity reaches: what gathered during the last run is then the best batch, and
waiting is for bursts alone. (Deb and Serfozo, 1973, show that such a control limit is optimal.)

*Whether a deadline can be met.* What would take twice as long as is left, by the measured cost, is
not begun. An estimate that refuses everything would never be corrected, so each refusal lowers it.
"""

_FADING = 0.95
# Runs that must have been seen before an estimate counts for anything.
_ENOUGH = 8
# The weight of the newest gap: a burst shows within a few requests.
_NEWEST = 0.25
_DOUBT = 0.9


class Pace:
    """Estimates for one batcher, in seconds. Not safe for threads by itself."""

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
        """`rows` rows came at `now`. A gap counts for no more than twice what a batch costs: it
        says that the burst is over, and longer ones say no more.
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
        # Of one size alone nobody can tell what is fixed: then nothing is, and nobody waits.
        slope = (n * xy - x * y) / spread if spread > 1e-3 * x * x else y / x
        self.per_row = min(max(slope, 0.0), y / x)
        self.fixed = (y - self.per_row * x) / n

    def worth_waiting_for(self) -> int:
        """How many rows a batch should have before waiting for more ceases to pay; 0 for none."""
        if self._runs < _ENOUGH:
            return 0
        lanes = self._lanes
        saved = self.fixed / lanes - self.gap
        return int(saved / (self.gap + self.per_row * (2 - 1 / lanes) + 1e-9)) if saved > 0 else 0

    def seconds(self, rows: int) -> float:
        """What a batch of `rows` rows is expected to take; 0 while that is not known."""
        return self.fixed + self.per_row * rows if self._runs >= _ENOUGH else 0.0

    def until_gone(self, rows: int, most: int) -> float:
        """How long `rows` rows that wait are expected to take, in batches of `most` on all lanes; 0
        while that is not known.
        """
        if self._runs < _ENOUGH:
            return 0.0
        return (-(-rows // most) * self.fixed + rows * self.per_row) / self._lanes

    def least(self, rows: int) -> float:
        """What a batch of `rows` rows surely takes: half of what is expected."""
        return self.seconds(rows) / 2

    def doubt(self) -> None:
        """A request was refused by this estimate, which no run corrects then: lower it."""
        for name in ("fixed", "per_row", "_y", "_xy"):
            setattr(self, name, _DOUBT * getattr(self, name))
