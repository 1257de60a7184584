"""Waits for a log to grow, and reads it page by page, for all followers at once."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from registry.storage.changes import Changes
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

# A database that failed is asked again after this long.
_RETRY_SECONDS = 1.0
_WAIT_SECONDS = 0.5
# Few, for an entry may have 64 KiB, and what one message holds must fit into one.
PAGE = 32
_KEPT = 16

T = TypeVar("T")


class LogFollower:
    """Wakes those who wait for a log to grow. All share one thread that looks at the database, so
    the database is asked as often as a single follower would ask.
    """

    def __init__(
        self, changes: Changes, token: Callable[[], object], size: Callable[[], int]
    ) -> None:
        """`size` is asked for where `changes` gives reason to look and `token` is another."""
        self._changes = changes
        self._token = token
        self._ask = size
        self._size = 0
        self._seen: object = None
        self._stopped = False
        self._condition = threading.Condition()
        # Set while somebody waits: nobody else needs the database to be looked at.
        self._wanted = threading.Event()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends away all who wait."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        self._wanted.set()
        self._changes.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._changes.close()

    def wait(self, known: int, seconds: float) -> int:
        """The log's size, once it is more than `known`, or after some time, `seconds` at most.

        Raises: DRAINING.
        """
        with self._condition:
            if self._size <= known and not self._stopped:
                self._waiting += 1
                self._wanted.set()
                self._condition.wait(seconds)
                self._waiting -= 1
                if not self._waiting and not self._stopped:
                    self._wanted.clear()
            if self._stopped:
                raise SealgateError(Reason.DRAINING)
            return self._size

    def wake(self) -> None:
        """Ends every wait, for somebody has reason to look up."""
        with self._condition:
            self._condition.notify_all()

    def _run(self) -> None:
        while not self._stopped:
            self._wanted.wait()
            try:
                if self._changes.wait(_WAIT_SECONDS):
                    self._look()
                continue
            except SealgateError as refusal:
                _log.error("following a log: %s", refusal)
            except Exception:
                # No error may end this thread: without it, all followers would wait for ever.
                _log.exception("following a log")
            with self._condition:
                self._condition.wait_for(lambda: self._stopped, _RETRY_SECONDS)

    def _look(self) -> None:
        token = self._token()
        if token != self._seen:
            self._grow(self._ask())
            self._seen = token

    def _grow(self, size: int) -> None:
        with self._condition:
            # Also where it has not grown: what the change was may concern them all the same.
            self._size = size
            self._condition.notify_all()


class Pages(Generic[T]):
    """The newest of the pages that were read, of things that never change: followers at the same
    place share one read.
    """

    def __init__(self, read: Callable[[int, int], Sequence[T]]) -> None:
        """`read` returns the things from one index up to another."""
        self.read = read
        self._lock = threading.Lock()
        self.kept: dict[int, Sequence[T]] = {}

    def page(self, start: int, end: int) -> Sequence[T]:
        """Some of the things from `start` up to `end`, at least the first. Raises like `read`."""
        end = min(end, start + PAGE)
        with self._lock:
            found = self.kept.get(start)
            if found is None:
                found = self.read(start, end)
                while len(self.kept) >= _KEPT:
                    del self.kept[next(iter(self.kept))]
                self.kept[start] = found
        return found[: end - start]
