"""Who may have a part of the cache: first come, first served, and a bounded number may wait."""

import threading
import time
from collections import deque
from collections.abc import Callable

from sealgate.reasons import Reason, Refusal

# So often a caller that waits is looked at: it may have gone.
_LOOK_SECONDS = 0.05


class Room:
    """`pages` to give out. Safe for many threads."""

    def __init__(self, pages: int, queue: int) -> None:
        self._free = self.pages = pages
        self._queue = queue
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """How many pages nobody has."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiting)

    def take(self, pages: int, deadline: float, active: Callable[[], bool]) -> None:
        """Returns when the pages are the caller's; `deadline` is in seconds of `time.monotonic`.

        Raises Refusal: PROMPT_TOO_LONG for more than there are at all, QUEUE_FULL,
        DEADLINE_TOO_SHORT, also where `active` says that the caller has gone.
        """
        if pages > self.pages:
            raise Refusal(Reason.PROMPT_TOO_LONG, f"{pages} pages of {self.pages}")
        ticket = object()
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise Refusal(Reason.QUEUE_FULL, "too many answers wait")
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._free < pages:
                    if time.monotonic() >= deadline or not active():
                        raise Refusal(Reason.DEADLINE_TOO_SHORT, "before its run")
                    self._changed.wait(_LOOK_SECONDS)
                self._free -= pages
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def give(self, pages: int) -> None:
        """Takes back what was given."""
        with self._changed:
            self._free += pages
            self._changed.notify_all()
