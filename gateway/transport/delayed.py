"""Answers that are held back for a time, without a thread for each."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)


class DelayedAnswers:
    """Runs actions after a time, on a thread of its own that the first one starts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def add(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` in so many seconds, or at once after `stop`."""
        with self._changed:
            if not self._stopping:
                due = time.monotonic() + seconds
                heapq.heappush(self._waiting, (due, next(self._numbers), action))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="delayed", daemon=True)
                    self._thread.start()
                self._changed.notify()
                return
        action()

    def stop(self) -> None:
        """Run what waits now, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:
                _log.exception("a delayed answer")

    def _next(self) -> Callable[[], None] | None:
        """The action that is due next, once it is; None when there will be none."""
        with self._changed:
            while True:
                if self._waiting:
                    left = self._waiting[0][0] - time.monotonic()
                    if left <= 0 or self._stopping:
                        return heapq.heappop(self._waiting)[2]
                    self._changed.wait(left)
                elif self._stopping:
                    return None
                else:
                    self._changed.wait()
