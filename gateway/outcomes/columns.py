"""Drift by column: how the rows that a promotion answers differ from its calibration rows.

Rows are counted by bins and dropped; the counts are this process', and begin anew with it. Only
models that the policy's section `outcomes` names are watched, and versions whose detector says how
the calibration rows fill the bins (`inference.screening.column_bins`).
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine import LiveVersion
from inference.model.config import ModelConfig
from inference.screening.column_bins import ColumnBins, Counts
from sealgate.trust.policy import Policy

Array = npt.NDArray[Any]
_SLICES = 10
_DEFAULT_SECONDS = 86400
_MOST_PROMOTIONS = 64
# So many rows are counted together.
_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """The drift of one column over so many rows."""

    column: str
    rows: int
    psi: float
    ks: float


@dataclass(slots=True)
class _Watched:
    """The counts of one promotion, in slices of time; `waiting` rows are not counted yet."""

    bins: ColumnBins
    names: list[str]
    slice_seconds: float
    slices: dict[int, Counts] = field(default_factory=dict)
    waiting: list[Array] = field(default_factory=list)
    rows: int = 0

    def count(self, now: float) -> None:
        """Count the rows that wait."""
        if not self.waiting:
            return
        counts = self.bins.count(np.concatenate(self.waiting))
        self.waiting, self.rows = [], 0
        place = int(now / self.slice_seconds)
        if place not in self.slices:
            self.slices = {p: c for p, c in self.slices.items() if p > place - _SLICES}
        self.slices[place] = self.slices.get(place, 0) + counts

    def total(self, now: float) -> Counts:
        first = int(now / self.slice_seconds) - _SLICES + 1
        none = np.zeros((len(self.names), 1), np.int64)
        return np.asarray(sum((c for p, c in self.slices.items() if p >= first), none))


class ColumnWatch:
    """Safe for many threads."""

    def __init__(
        self, policy: Callable[[], Policy], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._mutex = threading.Lock()
        self._watched: OrderedDict[str, _Watched] = OrderedDict()

    def observe(self, live: LiveVersion, arrays: Sequence[Array]) -> None:
        """Take the rows [n, F] of requests that a version has answered."""
        section = self._policy().outcomes
        rules = section.of(live.model) if section else None
        bins = live.ready.detector.inputs
        if rules is None or bins is None or not arrays:
            return
        with self._mutex:
            watched = self._watched.get(live.pointer)
            if watched is None:
                limits = rules.aliases.get(live.alias)
                seconds = limits.window_seconds if limits else _DEFAULT_SECONDS
                names = column_names(live.config)
                watched = self._watched[live.pointer] = _Watched(bins, names, seconds / _SLICES)
                if len(self._watched) > _MOST_PROMOTIONS:
                    self._watched.popitem(last=False)
            watched.waiting += arrays
            watched.rows += sum(map(len, arrays))
            if watched.rows >= _TOGETHER:
                watched.count(self._clock())

    def drift(self, pointer: str) -> list[ColumnDrift]:
        """The drift of each column of the promotion of that pointer, the furthest first."""
        now = self._clock()
        with self._mutex:
            watched = self._watched.get(pointer)
            if watched is None:
                return []
            watched.count(now)
            counts = watched.total(now)
        rows = int(counts[0].sum())
        if not rows:
            return []
        found = zip(watched.names, watched.bins.psi(counts), watched.bins.ks(counts), strict=True)
        drifts = [ColumnDrift(name, rows, float(psi), float(ks)) for name, psi, ks in found]
        return sorted(drifts, key=lambda each: -each.psi)


def column_names(config: ModelConfig) -> list[str]:
    """The names of the columns; a word's column has its word, one without a name its place."""
    if config.columns:
        return [f"{c.name}={c.word}" if c.word is not None else c.name for c in config.columns]
    return [f"{config.input.name}[{place}]" for place in range(config.input.row[0])]
