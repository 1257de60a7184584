"""Limits the calls that keep a thread waiting for their other end, in number and in time.

The server has a fixed number of threads, and a call holds one while its message comes in and while
its stream goes on, however slowly the other end sends or takes. So that nobody takes them all by
waiting, calls without a credential get a quarter of the threads and streams another quarter, with a
language model's answers in one, which take as long; one caller gets three quarters of what there is
for messages and for streams, and each wait ends in time, whatever deadline the caller chose; a
stream on which the other end neither sends nor takes anything ends before that. Those who follow
changes or a log wait nearly always, so they have threads of their own, one for each who is let in.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from typing import Protocol

from gateway.config.sections import GatewayLimits
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError

SWEEP_SECONDS = 0.25
# Requests that need no credential fit into one packet.
_ANONYMOUS_SECONDS = 1.0
_OVERTIME_SECONDS = 5.0
# Beside those who are let in, for those who are still being looked at.
_DOORKEEPERS = 8


class WaitLimits(Enum):
    """The kinds of waits of a thread: for the one message of an anonymous or a known caller, for a
    stream, or for the next event.
    """

    ANONYMOUS = auto()
    MESSAGE = auto()
    STREAM = auto()
    WATCH = auto()


class CancellableCall(Protocol):
    def cancel(self) -> None: ...


class StreamLimiter:
    """Lets calls wait while there is room, and ends those that overstay. The message that a call
    waits for has at most `message_bytes`.
    """

    def __init__(self, limits: GatewayLimits) -> None:
        self.message_bytes = limits.message_bytes
        share = max(1, limits.threads // 4)
        self._room = {
            WaitLimits.ANONYMOUS: threading.BoundedSemaphore(share),
            WaitLimits.MESSAGE: threading.BoundedSemaphore(limits.threads),
            WaitLimits.STREAM: threading.BoundedSemaphore(share),
            WaitLimits.WATCH: threading.BoundedSemaphore(limits.watchers),
        }
        self._most_of_one = {
            WaitLimits.MESSAGE: max(1, limits.threads - share),
            WaitLimits.STREAM: max(1, share - share // 4),
        }
        self._of_one: Counter[tuple[WaitLimits, str]] = Counter()
        self.idle_seconds = limits.idle
        self._longest = {
            WaitLimits.ANONYMOUS: _ANONYMOUS_SECONDS,
            WaitLimits.MESSAGE: limits.deadline,
            WaitLimits.STREAM: limits.stream,
            # They end by themselves, unless the other end takes nothing.
            WaitLimits.WATCH: limits.stream + _OVERTIME_SECONDS,
        }
        self.watchers = ThreadPoolExecutor(
            limits.watchers + _DOORKEEPERS, thread_name_prefix="watcher"
        )
        self.ends: dict[CancellableCall, float] = {}
        self._mutex = threading.Lock()
        self._sweeper = PeriodicThread("stream-limiter", SWEEP_SECONDS, self._end_overdue)

    def start(self) -> None:
        """Begin to end what overstays."""
        self._sweeper.start()

    def stop(self) -> None:
        self._sweeper.stop()
        self.watchers.shutdown()

    def reading(self, call: CancellableCall, caller: str) -> AbstractContextManager[None]:
        """Hold a place for a known caller's call while its one message comes. Raises: QUEUE_FULL,
        also where too many of that caller's wait.
        """
        return self._waiting_for(caller, call, WaitLimits.MESSAGE)

    def streaming(self, call: CancellableCall, caller: str) -> AbstractContextManager[None]:
        """The same while a known caller's stream goes on."""
        return self._waiting_for(caller, call, WaitLimits.STREAM)

    @contextmanager
    def idle(self, call: CancellableCall) -> Iterator[None]:
        """While the block runs, a call that has a place waits for its other end alone."""
        with self._mutex:
            end = self.ends[call]
            self.ends[call] = min(end, time.monotonic() + self.idle_seconds)
        try:
            yield
        finally:
            with self._mutex:
                if call in self.ends:
                    self.ends[call] = end

    @contextmanager
    def waiting(self, call: CancellableCall, wait: WaitLimits) -> Iterator[None]:
        """Hold a place for the call while the block runs. Raises: QUEUE_FULL."""
        room = self._room[wait]
        if not room.acquire(blocking=False):
            raise SealgateError(Reason.QUEUE_FULL, f"too many wait: {wait.name.lower()}")
        with self._mutex:
            self.ends[call] = time.monotonic() + self._longest[wait]
        try:
            yield
        finally:
            with self._mutex:
                del self.ends[call]
            room.release()

    @contextmanager
    def _waiting_for(self, caller: str, call: CancellableCall, wait: WaitLimits) -> Iterator[None]:
        key = wait, caller
        with self._mutex:
            if self._of_one[key] >= self._most_of_one[wait]:
                raise SealgateError(Reason.QUEUE_FULL, f"too many of {caller} wait")
            self._of_one[key] += 1
        try:
            with self.waiting(call, wait):
                yield
        finally:
            with self._mutex:
                self._of_one[key] -= 1

    def _end_overdue(self) -> None:
        now = time.monotonic()
        with self._mutex:
            overdue = [call for call, end in self.ends.items() if now >= end]
        for call in overdue:
            call.cancel()
