"""What a call's end puts an end to, wherever that is noticed.

gRPC keeps what it is to call back until a call is over, and a stream may bring requests for an
hour. So it is told of one thing alone, and what each request began is let go of with it.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol


class Ending(Protocol):
    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have it called at the end; False where that has come."""
        ...


class Endings:
    """Of one call. Safe for many threads."""

    def __init__(self, context: Ending) -> None:
        self._context = context
        self._mutex = threading.Lock()
        self._ends: set[Callable[[], Any]] = set()
        self._is_awaited = self._is_over = False

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, end: Callable[[], Any]) -> Callable[[], None]:
        """Have `end` called when the call ends, however it does, or now if it has; returns what
        lets go of it.
        """
        with self._mutex:
            is_over, is_first = self._is_over, not self._is_awaited
            self._is_awaited = True
            self._ends.add(end)
        if is_over or (is_first and not self._context.add_callback(self._end)):
            self._end()
        return partial(self._forget, end)

    def _forget(self, end: Callable[[], Any]) -> None:
        with self._mutex:
            self._ends.discard(end)

    def _end(self) -> None:
        with self._mutex:
            self._is_over = True
            ends, self._ends = self._ends, set()
        for end in ends:
            end()
