"""How many rows memory has room for: halved when it did not, and tried again after a while."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sealgate.reasons import Reason, Refusal

Array = npt.NDArray[Any]

RECOVERY_SECONDS = 60.0


class Capacity:
    """A limit below `most` rows, remembered. Safe for many threads."""

    def __init__(
        self,
        most: int,
        recovery: float = RECOVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """After each `recovery` seconds without running out of memory, the limit doubles."""
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
        """There was no memory for `rows` rows, two or more; how many to try instead."""
        with self._mutex:
            self._rows = max(1, min(self._rows, rows // 2))
            self._until = self._clock() + self._recovery
            return self._rows

    def run(
        self, x: Array, work: Callable[[Array], tuple[Array, ...]], halved: Callable[[], None]
    ) -> tuple[Array, ...]:
        """What `work` gives for the rows of `x`, of as many at once as memory has room for.

        Where it raises OUT_OF_MEMORY for two rows or more it is asked again for half of them, and
        `halved` is told.
        """
        size = min(len(x), self.rows())
        if size == len(x):
            try:
                return work(x)
            except Refusal as refusal:
                if refusal.reason is not Reason.OUT_OF_MEMORY or size == 1:
                    raise
            size = self.halve(size)
            halved()
        parts = [self.run(x[at : at + size], work, halved) for at in range(0, len(x), size)]
        return tuple(np.concatenate(results) for results in zip(*parts, strict=True))
