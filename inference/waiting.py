"""Who waits for a batch, in two levels: the urgent go first, but not for ever.

Within a level the order is that of arrival. Of `OVERTAKEN + 1` requests taken one after another, at
least one is ordinary while any ordinary one waits: so a request that has k others of its level
before it is overtaken by at most `OVERTAKEN * (k + 1)` urgent ones. Each level has room of its own,
so neither can shut the other out by filling the queue.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

OVERTAKEN = 8


class Waiting(Protocol):
    """What may wait: a request with this many rows, urgent or not."""

    rows: int
    urgent: bool


Item = TypeVar("Item", bound=Waiting)


class _Level(Generic[Item]):
    """The requests of one level, and how many rows they hold."""

    __slots__ = ("items", "rows")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.rows = 0


class WaitingLine(Generic[Item]):
    """A bounded queue of two levels. Not safe for threads by itself."""

    __slots__ = ("_ordinary", "_overtaken", "_room", "_urgent")

    def __init__(self, room: int) -> None:
        """`room` is how many rows each level holds at most."""
        self._room = room
        self._urgent: _Level[Item] = _Level()
        self._ordinary: _Level[Item] = _Level()
        # How often in a row the head of the ordinary ones has been overtaken.
        self._overtaken = 0

    def __len__(self) -> int:
        return len(self._urgent.items) + len(self._ordinary.items)

    @property
    def rows(self) -> int:
        return self._urgent.rows + self._ordinary.rows

    def has_room(self, item: Item) -> bool:
        return self._level(item).rows + item.rows <= self._room

    def append(self, item: Item) -> None:
        level = self._level(item)
        level.items.append(item)
        level.rows += item.rows

    def remove(self, item: Item) -> None:
        level = self._level(item)
        level.items.remove(item)
        level.rows -= item.rows

    def head(self) -> Item:
        """Who is next. The line must not be empty."""
        return self._next().items[0]

    def take(self) -> Item:
        """Takes who is next out of the line, which must not be empty."""
        level = self._next()
        passes = level is self._urgent and self._ordinary.items
        self._overtaken = self._overtaken + 1 if passes else 0
        item = level.items.popleft()
        level.rows -= item.rows
        return item

    def _level(self, item: Item) -> _Level[Item]:
        return self._urgent if item.urgent else self._ordinary

    def _next(self) -> _Level[Item]:
        patient = self._overtaken < OVERTAKEN or not self._ordinary.items
        return self._urgent if self._urgent.items and patient else self._ordinary
