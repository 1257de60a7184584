"""The cores of this process, which the runs of large graphs take and give back.

Each version may fill them alone, so several that are busy at once would run more threads than there
are cores and merely take turns, at the price of each other's caches.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inference.runtime_settings import ON_CPU, RuntimeSettings

# A run that hangs must not keep the others from running at all: they then go ahead, crowded.
_PATIENCE_SECONDS = 1.0


class Cores:
    """Room for so many runs at once, of whatever version. Safe for many threads."""

    def __init__(self, runs: int, patience: float = _PATIENCE_SECONDS) -> None:
        self._room = threading.Semaphore(runs)
        self._patience = patience
        self._mutex = threading.Lock()
        # Who holds each place that is taken.
        self._holders: dict[object, object] = {}

    @contextmanager
    def taken(self, holder: object) -> Iterator[bool]:
        """Hold a place while the block runs; whether one was free in time."""
        place = object()
        free = self._room.acquire(timeout=self._patience)
        if free:
            with self._mutex:
                self._holders[place] = holder
        try:
            yield free
        finally:
            self._free([place])

    def take_back(self, holder: object) -> None:
        """Give to others the places of a holder whose runs do not end."""
        with self._mutex:
            places = [place for place, held in self._holders.items() if held is holder]
        self._free(places)

    def _free(self, places: list[object]) -> None:
        """Free those of the places that still are taken."""
        with self._mutex:
            freed = sum(self._holders.pop(place, None) is not None for place in places)
        if freed:
            self._room.release(freed)


@dataclass(frozen=True, slots=True)
class Running:
    """How graphs are run: by the `settings`, and within the `cores` that all versions share."""

    settings: RuntimeSettings = ON_CPU
    cores: Cores | None = None


ALONE = Running()
"""On the processor, with nobody to share it with."""
