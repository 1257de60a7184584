"""How long answers are kept, and which were pruned: the registry's log says both.

An anchor shows that an answer log had so many entries at its time, so those are at least as old.
What is about to be pruned stands in the log before the first entry goes.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, func, select

from registry.events import ANSWERS_ANCHORED, LOG_PRUNED
from registry.logged_state import LoggedPruning
from registry.schema import ANCHORS, PRUNINGS
from registry.unit_of_work import Ledger, UnitOfWork
from sealgate.reasons import Reason, Refusal
from sealgate.trust.times import format_time
from sealgate.trust.transparency.tiles import WIDTH


class Prunings:
    """The use cases around pruning, in the name of `principal`."""

    def __init__(self, ledger: Ledger, principal: str) -> None:
        self._ledger = ledger
        self._principal = principal

    def prunable(self, origin: str, before: datetime) -> int:
        """How many entries of a log, in full tiles, an anchor shows to be from before a time.

        The anchor's word is compared with its entry. Raises Refusal: LOG_INCONSISTENT.
        """
        with self._ledger.change(self._principal) as unit:
            return _prunable(unit, origin, before)

    def pruned(self, origin: str) -> int:
        """How many entries of a log were to be pruned so far. Raises REGISTRY_UNAVAILABLE."""
        with self._ledger.view() as connection:
            return pruned_of(connection, origin)

    def add(
        self, origin: str, size: int, before: datetime, closed: Callable[[int, int], int]
    ) -> None:
        """Log that the first `size` entries of an answer log, full tiles, are about to be pruned.

        `closed` says how many entries of a range have no opening: the log tells of these too.
        Raises Refusal(RETENTION_HOLDS) unless an anchor shows all of them to be from before that
        time; LOG_INCONSISTENT, RECORD_FAILED.
        """
        with self._ledger.change(self._principal) as unit:
            if size % WIDTH or size > _prunable(unit, origin, before):
                raise Refusal(Reason.RETENTION_HOLDS, f"{size} entries of {origin}")
            before_it = unit.logged().prunings.get(origin, LoggedPruning())
            if size <= before_it.size:
                return
            told = before_it.closed + closed(before_it.size, size)
            unit.add(LOG_PRUNED, origin=origin, size=size, closed=told)
            unit.commit()


def pruned_of(connection: Connection, origin: str) -> int:
    """How many entries of a log were to be pruned so far."""
    query = select(func.max(PRUNINGS.c.size)).where(PRUNINGS.c.origin == origin)
    return int(connection.scalar(query) or 0)


def _prunable(unit: UnitOfWork, origin: str, before: datetime) -> int:
    here = (ANCHORS.c.origin == origin, ANCHORS.c.time < format_time(before))
    query = select(ANCHORS).where(*here).order_by(ANCHORS.c.size.desc()).limit(1)
    row = unit.connection.execute(query).mappings().one_or_none()
    if row is None:
        return 0
    unit.check_logged(ANSWERS_ANCHORED, dict(row))
    return int(row["size"]) // WIDTH * WIDTH
