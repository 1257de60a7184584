"""Threads that many queues share: none takes so many that the others wait for it."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.admission.overload import Threads

Item = TypeVar("Item")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Share(Generic[Item]):
    waiting: deque[Item] = field(default_factory=deque)
    busy: int = 0


class ThreadShares(Generic[Item]):
    """At most `most` of the `threads` work for a key at once. Items that come under it meanwhile
    wait. The key's next free thread takes them together, after items that came earlier under other
    keys. Safe for many threads.
    """

    def __init__(self, threads: Threads, most: int) -> None:
        self._threads = threads
        self._most = most
        self._mutex = threading.Lock()
        self._ended = threading.Condition(self._mutex)
        self._shares: dict[Hashable, _Share[Item]] = {}

    def waiting(self, key: Hashable) -> Sequence[Item]:
        """The items that no thread has taken yet, in order."""
        with self._mutex:
            share = self._shares.get(key)
            return tuple(share.waiting) if share else ()

    def submit(
        self,
        key: Hashable,
        work: Callable[[Sequence[Item]], None],
        items: Sequence[Item],
        at_once: int,
    ) -> None:
        """Have `work` done soon for `items`, with at most so many at once. A key has one work."""
        with self._mutex:
            share = self._shares.setdefault(key, _Share())
            share.waiting.extend(items)
            if share.busy == self._most:
                return
            share.busy += 1
        self._threads.submit(self._work, key, work, at_once)

    def wait(self, seconds: float) -> bool:
        """Wait until all work is done, for so long at most; whether it is."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._shares, seconds)

    def _work(self, key: Hashable, work: Callable[[Sequence[Item]], None], at_once: int) -> None:
        """On a thread: once, for others wait for the thread as well."""
        items = self._take(key, at_once)
        try:
            if items:
                work(items)
        except Exception:  # what waits must not wait for ever
            _log.exception("handling calls")
        if self._goes_on(key):
            self._threads.submit(self._work, key, work, at_once)

    def _take(self, key: Hashable, at_once: int) -> Sequence[Item]:
        with self._mutex:
            waiting = self._shares[key].waiting
            return [waiting.popleft() for _ in range(min(at_once, len(waiting)))]

    def _goes_on(self, key: Hashable) -> bool:
        """Whether something waits under the key; otherwise a thread less works for it."""
        with self._mutex:
            share = self._shares[key]
            if share.waiting:
                return True
            share.busy -= 1
            if not share.busy:
                del self._shares[key]
                self._ended.notify_all()
            return False
