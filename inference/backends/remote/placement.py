"""Chooses the engine that is expected to finish a request first.

Each engine measures what batches of each version cost (`inference.batching.cost_model`). The queue
of an engine is what this gateway has asked and not yet received. If W(v) rows of version v are
waiting there, a request of n rows of version r is expected to finish after

    way + max(cost(r, n), (cost(r, W(r) + n) + the sum over the others of cost(v, W(v))) / lanes)

seconds. `way` is the time of a call that does nothing. Rows that wait together run together, so
cost(r, W + n) is the cost of the fewest batches that hold them. An engine that has become slower
since it was measured keeps its rows longer, so more rows wait there and it gets fewer.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from inference.batching import BatchCosts


@dataclass(frozen=True, slots=True)
class MeasuredEngine:
    """A version's batch costs at an engine, its provider, and the seconds of an empty call."""

    costs: BatchCosts
    place: str
    way: float = 0.0


def finish(
    digest: str, rows: int, measured: Mapping[str, MeasuredEngine], waiting: Mapping[str, int]
) -> float:
    """Seconds until an engine would finish `rows` rows of the version `digest`.

    `measured` are the costs there by digest, and `waiting` the rows of each version in its queue.
    """
    own = measured[digest]
    total = own.costs.seconds(waiting.get(digest, 0) + rows)
    total += sum(
        measured[other].costs.seconds(count)
        for other, count in waiting.items()
        if count and other != digest and other in measured
    )
    return own.way + max(own.costs.seconds(rows), total / own.costs.lanes)


class EnginePlacement:
    """Tracks the rows that each engine was asked for. Safe for many threads."""

    def __init__(self, names: Iterable[str]) -> None:
        self._mutex = threading.Lock()
        self._waiting: dict[str, Counter[str]] = {name: Counter() for name in names}

    def waiting(self, name: str) -> int:
        """How many rows an engine was asked for and has not answered."""
        with self._mutex:
            return self._waiting[name].total()

    def place(
        self, digest: str, rows: int, candidates: Mapping[str, Mapping[str, MeasuredEngine]]
    ) -> str:
        """The engine to ask among `candidates`, each with its measurements; its rows count as
        waiting until they `leave`. Engines that have not measured the version come last.
        """
        with self._mutex:
            name = min(candidates, key=lambda name: self._rank(digest, rows, name, candidates))
            self._waiting[name][digest] += rows
        return name

    def leave(self, name: str, digest: str, rows: int) -> None:
        """Rows that were placed with an engine do not wait there any more."""
        with self._mutex:
            self._waiting[name][digest] -= rows

    @contextmanager
    def placed(
        self, digest: str, rows: int, candidates: Mapping[str, Mapping[str, MeasuredEngine]]
    ) -> Iterator[str]:
        """See `place`; the rows leave at the end of the block."""
        name = self.place(digest, rows, candidates)
        try:
            yield name
        finally:
            self.leave(name, digest, rows)

    def _rank(
        self,
        digest: str,
        rows: int,
        name: str,
        candidates: Mapping[str, Mapping[str, MeasuredEngine]],
    ) -> tuple[bool, float, int]:
        measured, waiting = candidates[name], self._waiting[name]
        known = digest in measured
        seconds = finish(digest, rows, measured, waiting) if known else 0.0
        return not known, seconds, waiting.total()
