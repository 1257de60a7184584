"""Fair queue with two levels: urgent requests overtake, but not without bound.

Within a level, callers have equal shares, counted in rows (start-time fair queuing: Goyal, Vin and
Cheng, SIGCOMM 1996). Each request is due at a virtual time: the time of its caller's previous
request plus that request's rows. A new caller begins at the present virtual time. A caller that
floods the queue waits behind its own requests while others pass. A caller's requests keep their
order. The rows that a caller was served count until the queue is empty, even if the caller does not
wait in between; otherwise a caller that sends one large request at a time would always be due at
once. A request that left unserved does not count.

Of `OVERTAKEN + 1` requests taken in a row, at least one is ordinary while any ordinary one waits:
a request with k others due before it is overtaken by at most `OVERTAKEN * (k + 1)` urgent ones.
Each level has its own space, so neither can block the other by filling the queue. A single caller
cannot block it either: if a level is full, a caller that holds more than the newcomer would has to
give up what it sent last.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

OVERTAKEN = 8


class QueueItem(Protocol):
    """A request in the queue. Requests of one bucket can run together."""

    rows: int
    urgent: bool
    caller: str
    bucket: int


Item = TypeVar("Item", bound=QueueItem)


class _Share:
    """A caller's requests in one level: the next virtual time, and how many rows wait."""

    __slots__ = ("due", "rows")

    def __init__(self, due: int) -> None:
        self.due = due
        self.rows = 0


class _Level(Generic[Item]):
    """The requests of one level, by virtual time and then by arrival."""

    __slots__ = ("_arrivals", "_now", "heap", "rows", "shares")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Item]] = []
        self.rows = 0
        self._now = 0
        self._arrivals = 0
        self.shares: dict[str, _Share] = {}

    def append(self, item: Item) -> None:
        share = self.shares.get(item.caller)
        if share is None:
            share = self.shares[item.caller] = _Share(self._now)
        due = share.due if share.due > self._now else self._now
        share.due = due + item.rows
        share.rows += item.rows
        self.rows += item.rows
        self._arrivals += 1
        heapq.heappush(self.heap, (due, self._arrivals, item))

    def take(self) -> Item:
        self._now, _, item = heapq.heappop(self.heap)
        self._count_off(item)
        return item

    def fits(self, bucket: int, room: int) -> bool:
        """Whether all requests are of the bucket and fit into `room` rows."""
        return self.rows <= room and all(item.bucket == bucket for _, _, item in self.heap)

    def take_all(self) -> list[Item]:
        """Remove and return all requests, in order."""
        # No two of them arrived at once, so items are not compared.
        self.heap.sort()
        found = [item for _, _, item in self.heap]
        if found:
            self._now = self.heap[-1][0]
        self.heap.clear()
        self.rows = 0
        self.shares.clear()
        return found

    def take_out(self, *items: Item) -> None:
        """Remove these requests, wherever they are."""
        gone = set(map(id, items))
        self.heap = [entry for entry in self.heap if id(entry[2]) not in gone]
        heapq.heapify(self.heap)
        self._count_off(*items)

    def remove(self, item: Item) -> None:
        """Remove a request that is not served."""
        self.shares[item.caller].due -= item.rows
        self.take_out(item)

    def of(self, bucket: int, room: int) -> list[Item]:
        """The first requests of the bucket, in order, while they fit into `room` rows."""
        found: list[Item] = []
        ordered = sorted(
            (entry for entry in self.heap if entry[2].bucket == bucket), key=lambda entry: entry[:2]
        )
        for _, _, item in ordered:
            room -= item.rows
            if room < 0:
                break
            found.append(item)
        return found

    def greediest(self, newcomer: QueueItem, ahead: Sequence[QueueItem] = ()) -> tuple[str, int]:
        """The caller with most rows, and how many more these are than the caller of `newcomer`
        would have. Those `ahead` count as if they waited.
        """
        rows = Counter({caller: share.rows for caller, share in self.shares.items()})
        for item in ahead:
            rows[item.caller] += item.rows
        caller = max(rows, key=rows.__getitem__, default=newcomer.caller)
        return caller, rows[caller] - rows[newcomer.caller] - newcomer.rows

    def newest(self, caller: str) -> list[Item]:
        """A caller's requests, the last first."""
        own = (entry for entry in self.heap if entry[2].caller == caller)
        return [item for _, _, item in sorted(own, reverse=True, key=lambda entry: entry[:2])]

    def _count_off(self, *items: Item) -> None:
        """Of items that are no longer in the heap."""
        for item in items:
            self.rows -= item.rows
            self.shares[item.caller].rows -= item.rows
        if not self.heap:
            self.shares.clear()


class FairQueue(Generic[Item]):
    """A bounded queue with two levels. Not thread-safe by itself."""

    __slots__ = ("_levels", "_overtaken", "_urgent", "ordinary", "room")

    def __init__(self, room: int, levels: int = 2) -> None:
        """`room` is the number of rows that each level can hold; what is there stays when it is
        lowered. With one of the `levels`, no request is urgent.
        """
        self.room = room
        self._levels = levels
        self._urgent: _Level[Item] = _Level()
        self.ordinary: _Level[Item] = _Level()
        # How often in a row the head of the ordinary ones has been overtaken.
        self._overtaken = 0

    def __len__(self) -> int:
        return len(self._urgent.heap) + len(self.ordinary.heap)

    def __iter__(self) -> Iterator[Item]:
        """In no order."""
        for level in (self._urgent, self.ordinary):
            yield from (item for _, _, item in level.heap)

    @property
    def rows(self) -> int:
        return self._urgent.rows + self.ordinary.rows

    def has_room(self, item: Item) -> bool:
        return self._level(item).rows + item.rows <= self.room

    def could_take(self, item: QueueItem, ahead: Sequence[QueueItem] = ()) -> bool:
        """Whether there is room behind those `ahead`, or a greedier caller would have to make
        it.
        """
        level = self._level(item)
        ahead = [each for each in ahead if self._level(each) is level]
        needed = self._missing(item, level.rows + sum(each.rows for each in ahead))
        if needed <= 0:
            return True
        caller, spare = level.greediest(item, ahead)
        if spare <= 0:
            return False
        last: list[QueueItem] = [each for each in reversed(ahead) if each.caller == caller]
        last.extend(level.newest(caller))
        return bool(_surplus(last, spare, needed))

    def make_room(self, item: Item) -> list[Item]:
        """Remove and return what must give way to `item` if its level is full (see the module).

        The result is empty if nothing must give way, or nothing may: `has_room`, asked before,
        tells.
        """
        level = self._level(item)
        needed = self._missing(item, level.rows)
        caller, spare = level.greediest(item)
        if needed <= 0 or spare <= 0:
            return []
        found = _surplus(level.newest(caller), spare, needed)
        for other in found:
            level.remove(other)
        return found

    def append(self, item: Item) -> None:
        self._level(item).append(item)

    def remove(self, item: Item) -> None:
        self._level(item).remove(item)

    def head(self) -> Item:
        """The next request. The queue must not be empty."""
        return self._next().heap[0][2]

    def take(self) -> Item:
        """Remove and return the next request. The queue must not be empty."""
        level = self._next()
        passes = level is self._urgent and self.ordinary.heap
        self._overtaken = self._overtaken + 1 if passes else 0
        return level.take()

    def take_along(self, bucket: int, room: int) -> list[Item]:
        """Remove and return the requests that come next while they fit into `room` rows.

        If one is of another bucket, the others of this bucket pass it: it comes next in any case,
        and by then they are out of its way.
        """
        found: list[Item] = []
        if self.ordinary.heap and not self._urgent.heap and self.ordinary.fits(bucket, room):
            self._overtaken = 0
            return self.ordinary.take_all()
        while len(self) and self.head().bucket == bucket and self.head().rows <= room:
            found.append(self.take())
            room -= found[-1].rows
        if not len(self) or self.head().bucket == bucket:
            return found
        for level in (self._urgent, self.ordinary):
            passing = level.of(bucket, room)
            level.take_out(*passing)
            found += passing
            room -= sum(item.rows for item in passing)
        return found

    def _missing(self, item: QueueItem, rows: int) -> int:
        """How many of `rows` rows must give way to an item: no more than it brings, where there are
        more than there is room for now.
        """
        return min(item.rows, rows + item.rows - self.room)

    def _level(self, item: QueueItem) -> _Level[Item]:
        return self._urgent if item.urgent and self._levels > 1 else self.ordinary

    def _next(self) -> _Level[Item]:
        patient = self._overtaken < OVERTAKEN or not self.ordinary.heap
        return self._urgent if self._urgent.heap and patient else self.ordinary


def fair_parts(items: Sequence[Item], most: int) -> Iterable[Sequence[Item]]:
    """The items in parts of at most `most`: callers share them, and urgent ones come first."""
    if len(items) <= most:
        if items:
            yield items
        return
    queue: FairQueue[Item] = FairQueue(sum(item.rows for item in items))
    for item in items:
        queue.append(item)
    while len(queue):
        yield [queue.take() for _ in range(min(most, len(queue)))]


def _surplus(requests: Iterable[Item], spare: int, needed: int) -> list[Item]:
    """The first of a caller's requests that free `needed` rows, and `spare` at most; empty if there
    are none.
    """
    found: list[Item] = []
    for item in requests:
        spare -= item.rows
        if spare < 0:
            return []
        found.append(item)
        needed -= item.rows
        if needed <= 0:
            return found
    return []
