"""Whether erasures explain every entry of an answer log that cannot be opened.

The registry's log tells how many entries each erasure closed, and of the pruned entries how many
had been closed before. As many must be closed among those that are kept: more means that somebody
deleted openings or keys, fewer that an erasure broke off or was undone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sealgate.reasons import Reason, Refusal


@dataclass(slots=True)
class Erased:
    """What the registry's log tells of one answer log.

    `entries` were closed by erasures, `pruned` of these were pruned since. `uncounted` erasures are
    of a release that did not count.
    """

    entries: int = 0
    pruned: int = 0
    uncounted: int = 0

    @property
    def kept(self) -> int:
        """How many closed entries are kept."""
        return self.entries - self.pruned


@dataclass(frozen=True, slots=True)
class Closed:
    """How many entries cannot be opened. `explained` is False where an erasure of an earlier
    release did not count, so that nobody can tell.
    """

    entries: int
    explained: bool


def check_closed(origin: str, closed: int, told: Erased, again: Callable[[], Erased]) -> Closed:
    """Compare how many entries of those that are kept cannot be opened with what erasures closed.

    `again` reads the registry's log once more, for an erasure or a pruning may have come in
    between. Raises Refusal: OPENING_MISSING, ERASURE_UNFINISHED.
    """
    if not told.uncounted and closed != told.kept:
        told = again()
    if told.uncounted:
        return Closed(closed, explained=False)
    detail = f"{origin}: {closed} entries cannot be opened, and erasures closed {told.kept}"
    if closed > told.kept:
        raise Refusal(Reason.OPENING_MISSING, detail)
    if closed < told.kept:
        raise Refusal(Reason.ERASURE_UNFINISHED, detail)
    return Closed(closed, explained=True)
