"""Limits on how long, and how often at once, one gateway may occupy an engine's threads.

A call holds a thread from its beginning, even while its message has not arrived and while nobody
reads its answers. Without limits, one gateway could hold all threads with calls that send nothing.
"""

import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Protocol

import grpc

from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError

_SWEEP_SECONDS = 0.25
# A stream's request ends at its own deadline, unless nobody reads its answers.
_OVERTIME_SECONDS = 5.0


class Cancellable(Protocol):
    def cancel(self) -> object: ...


class WaitLimiter:
    """Lets calls wait while there is room, and ends those that overstay. Safe for many threads."""

    def __init__(self, threads: int, seconds: float) -> None:
        """A message has `seconds` to come; of the `threads` three quarters wait for one gateway."""
        self._most = max(1, threads * 3 // 4)
        self._seconds = seconds
        self._mutex = threading.Lock()
        self._waiting: Counter[bytes] = Counter()
        self._ends: dict[Cancellable, float] = {}
        self._sweeper = PeriodicThread("patience", _SWEEP_SECONDS, self._end_overdue)

    def start(self) -> None:
        """Begin to end what overstays."""
        self._sweeper.start()

    def stop(self) -> None:
        self._sweeper.stop()

    def messages(
        self, messages: Iterator[bytes], gateway: bytes, call: Cancellable
    ) -> Generator[bytes, None, None]:
        """The messages of a gateway's call, until it ends or is ended. Raises: QUEUE_FULL."""
        try:
            while (message := self._next(messages, gateway, call)) is not None:
                yield message
        finally:
            with self._mutex:
                self._ends.pop(call, None)

    def _next(self, messages: Iterator[bytes], gateway: bytes, call: Cancellable) -> bytes | None:
        with self._mutex:
            if self._waiting[gateway] >= self._most:
                raise SealgateError(Reason.QUEUE_FULL, "too many idle calls of one gateway")
            self._waiting[gateway] += 1
            self._ends[call] = time.monotonic() + self._seconds
        try:
            return next(messages, None)
        except grpc.RpcError:
            # It was ended, here or there.
            return None
        finally:
            with self._mutex:
                self._waiting[gateway] -= 1
                if not self._waiting[gateway]:
                    del self._waiting[gateway]
                self._ends[call] = time.monotonic() + self._seconds + _OVERTIME_SECONDS

    def _end_overdue(self) -> None:
        now = time.monotonic()
        with self._mutex:
            late = [call for call, end in self._ends.items() if end <= now]
            for call in late:
                del self._ends[call]
        for call in late:
            call.cancel()
