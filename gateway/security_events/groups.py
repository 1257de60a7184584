"""Counts events that are alike, so that any number of them is a few lines.

The first of a group is due at once. What follows is counted, and due together when a window has
passed; a group that nothing was added to by then ends. The groups of a kind are bounded: beyond,
its events are told without their origin, of which there are as many as reasons. So none is dropped,
and a flood of one kind, which strangers can cause, takes the origin from no other.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.security_events.kinds import EventKind, SecurityEvent

MOST = 256


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
    """Safe for many threads. `clock` is in seconds since 1970 and may be set back; `most` is how
    many groups a kind has with their origin.
    """

    def __init__(self, window: float, clock: Callable[[], float], most: int = MOST) -> None:
        self._window = window
        self._clock = clock
        self._most = most
        self._mutex = threading.Lock()
        self._groups: dict[SecurityEvent, _Group] = {}
        self._kinds: Counter[EventKind] = Counter()

    def add(self, event: SecurityEvent) -> bool:
        """Count an event; True where it is due at once."""
        now = self._clock()
        with self._mutex:
            if event not in self._groups and self._kinds[event.kind] >= self._most:
                event = event.without_origin()
            is_new = event not in self._groups
            self._count(self._group(event, now), 1, now, now)
        return is_new

    def take(self) -> list[CountedEvent]:
        """What is due, in the order in which it first happened."""
        now = self._clock()
        taken: list[CountedEvent] = []
        with self._mutex:
            for event, group in list(self._groups.items()):
                # What is due later than a window was told before the clock was set back.
                if now < group.due <= now + self._window:
                    continue
                if not group.count:
                    del self._groups[event]
                    self._kinds[event.kind] -= 1
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
                group = self._group(each.event, 0.0)
                group.due = 0.0
                self._count(group, each.count, each.first, each.last)

    def next_due(self) -> float | None:
        """In how many seconds something is due, if anything is counted."""
        with self._mutex:
            first = min((group.due for group in self._groups.values()), default=None)
        return None if first is None else min(max(0.0, first - self._clock()), self._window)

    def _group(self, event: SecurityEvent, due: float) -> _Group:
        group = self._groups.get(event)
        if group is None:
            group = self._groups[event] = _Group(due)
            self._kinds[event.kind] += 1
        return group

    def _count(self, group: _Group, count: int, first: float, last: float) -> None:
        group.first = min(group.first, first) if group.count else first
        group.last = max(group.last, last) if group.count else last
        group.count += count
