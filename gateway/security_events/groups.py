"""Counts events that are alike, so that any number of them is a few lines.

The first of a group is due at once. What follows is counted, and due together when a window has
passed; a group that nothing was added to by then ends. Groups are bounded: beyond, events are told
without their origin, of which there are as many as kinds and reasons. So none is dropped.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.security_events.kinds import SecurityEvent

MOST = 1024


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """`count` events that are alike; `first` and `last` are the times of the outer two, in seconds
    since 1970.
    """

    event: SecurityEvent
    count: int
    first: float
    last: float


@dataclass(slots=True)
class _Group:
    due: float
    count: int = 0
    first: float = 0.0
    last: float = 0.0


class EventGroups:
    """Safe for many threads. `clock` is in seconds since 1970."""

    def __init__(self, window: float, clock: Callable[[], float], most: int = MOST) -> None:
        self._window = window
        self._clock = clock
        self._most = most
        self._mutex = threading.Lock()
        self._groups: dict[SecurityEvent, _Group] = {}

    def add(self, event: SecurityEvent) -> bool:
        """Count an event; True where it is due at once."""
        now = self._clock()
        with self._mutex:
            if event not in self._groups and len(self._groups) >= self._most:
                event = event.without_origin()
            group = self._groups.get(event)
            is_new = group is None
            if group is None:
                group = self._groups[event] = _Group(now)
            self._count(group, 1, now, now)
        return is_new

    def take(self) -> list[CountedEvent]:
        """What is due, in the order in which it first happened."""
        now = self._clock()
        taken: list[CountedEvent] = []
        with self._mutex:
            for event, group in list(self._groups.items()):
                if group.due > now:
                    continue
                if not group.count:
                    del self._groups[event]
                    continue
                taken.append(CountedEvent(event, group.count, group.first, group.last))
                self._groups[event] = _Group(now + self._window)
        return sorted(taken, key=lambda each: each.first)

    def take_all(self) -> list[CountedEvent]:
        """All that is counted, due or not; for the end."""
        with self._mutex:
            for group in self._groups.values():
                group.due = 0.0
        return self.take()

    def put_back(self, events: Sequence[CountedEvent]) -> None:
        """Count again what could not be told; it is due at once."""
        with self._mutex:
            for each in events:
                group = self._groups.setdefault(each.event, _Group(0.0))
                group.due = 0.0
                self._count(group, each.count, each.first, each.last)

    def next_due(self) -> float | None:
        """In how many seconds something is due, if anything is counted."""
        with self._mutex:
            first = min((group.due for group in self._groups.values()), default=None)
        return None if first is None else max(0.0, first - self._clock())

    def _count(self, group: _Group, count: int, first: float, last: float) -> None:
        group.first = min(group.first, first) if group.count else first
        group.last = max(group.last, last) if group.count else last
        group.count += count
