"""Which callers' sessions led to something, for those who watch over the gateway."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

from sealgate.trust.times import format_micros

_MOST = 1000


class FlaggedSession(NamedTuple):
    """A caller's session with a model that looked like an attack, and what follows from it."""

    id: str
    time: str
    principal: str
    model: str
    action: str


class FlaggedSessions:
    """The newest thousand. Safe for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._mutex = threading.Lock()
        # Ids of another start are others.
        self._instance = secrets.token_hex(4)
        self._numbers = count(1)
        self._kept: OrderedDict[str, FlaggedSession] = OrderedDict()
        self._until: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def add(self, principal: str, model: str, action: str, seconds: float) -> None:
        """Keep a session, unless it was found within the last `seconds` already."""
        place, now = (principal, model, action), self._clock()
        with self._mutex:
            known = self._until.get(place, now) > now
            self._until[place] = now + seconds
            self._until.move_to_end(place)
            if len(self._until) > _MOST:
                self._until.popitem(last=False)
            if known:
                return
            id_ = f"{self._instance}-{next(self._numbers)}"
            self._kept[id_] = FlaggedSession(id_, format_micros(datetime.now(UTC)), *place)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def after(self, id_: str) -> list[FlaggedSession]:
        """Those after one, or all where it is not known; oldest first."""
        with self._mutex:
            found = list(self._kept.values())
            start = list(self._kept).index(id_) + 1 if id_ in self._kept else 0
        return found[start:]
