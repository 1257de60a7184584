"""Fair, bounded queue for shares of the token cache.

Next is the request whose caller holds the fewest pages; among several, the oldest. Nobody overtakes
the next request, however small, so large answers get their turn. If the queue is full, the caller
with the most waiting requests gives up the newest of them to a caller who has fewer.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sealgate.reasons import Reason, SealgateError

# So often a caller that waits is looked at: it may have gone.
_LOOK_SECONDS = 0.05


@dataclass(slots=True, eq=False)
class _Ticket:
    """A place in the queue, which can be taken away."""

    caller: str
    is_given_up: bool = False


class CacheQueue:
    """Gives out `pages` of the cache. Safe for many threads."""

    def __init__(self, pages: int, queue: int) -> None:
        self._free = self.pages = pages
        self.queue = queue
        self.waiting_requests: list[_Ticket] = []
        self.held: Counter[str] = Counter()
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """How many pages nobody has."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return len(self.waiting_requests)

    def take(
        self, pages: int, deadline: float, active: Callable[[], bool], caller: str = ""
    ) -> None:
        """Returns when the pages are the caller's; `deadline` is in seconds of `time.monotonic`.

        Raises SealgateError: PROMPT_TOO_LONG for more than there are at all, QUEUE_FULL,
        DEADLINE_TOO_SHORT, also where `active` says that the caller has gone.
        """
        if pages > self.pages:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{pages} pages of {self.pages}")
        ticket = _Ticket(caller)
        with self._changed:
            self._queue_up(ticket)
            try:
                while self._next() is not ticket or self._free < pages:
                    if ticket.is_given_up:
                        raise SealgateError(Reason.QUEUE_FULL, f"{caller} has most waiting")
                    if time.monotonic() >= deadline or not active():
                        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
                    self._changed.wait(_LOOK_SECONDS)
                self._free -= pages
                self.held[caller] += pages
            finally:
                if not ticket.is_given_up:
                    self.waiting_requests.remove(ticket)
                self._changed.notify_all()

    def give(self, pages: int, caller: str = "") -> None:
        """Takes back what was given."""
        with self._changed:
            self._free += pages
            self.held[caller] -= pages
            if not self.held[caller]:
                # Or every caller that ever was would be kept.
                del self.held[caller]
            self._changed.notify_all()

    def _next(self) -> _Ticket | None:
        return min(self.waiting_requests, key=lambda ticket: self.held[ticket.caller], default=None)

    def _queue_up(self, ticket: _Ticket) -> None:
        if len(self.waiting_requests) >= self.queue:
            waiting = Counter(other.caller for other in self.waiting_requests)
            most = max(waiting, key=waiting.__getitem__, default=ticket.caller)
            if waiting[ticket.caller] + 1 >= waiting[most]:
                raise SealgateError(Reason.QUEUE_FULL, "too many answers wait")
            newest = next(
                other for other in reversed(self.waiting_requests) if other.caller == most
            )
            newest.is_given_up = True
            self.waiting_requests.remove(newest)
        self.waiting_requests.append(ticket)
