"""Erasures of subjects and prunings of old answers, recorded in the registry's log without names.

Each entry says how many entries of the answer log the erasure closes. An auditor can so tell them
from openings that somebody deleted. Early releases did not record the number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, func, select

from registry.log.rows import inconsistent, leaves, next_index
from registry.policy import PolicyBook, check_answer_log, stored_envelope
from registry.state.events import ANSWERS_ANCHORED, LOG_PRUNED, SUBJECT_ERASED
from registry.state.logged_state import LoggedPruning
from registry.state.schema import ANCHORS, ERASURES, LOG, PRUNINGS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.trust.statements import Freshness
from sealgate.trust.times import format_time, parse_time
from sealgate.trust.transparency.tiles import WIDTH


@dataclass(frozen=True, slots=True)
class PlannedErasure:
    """An erasure before it happens: `entries` of an answer log that has `size` entries, and the
    digest of the subject's key (`registry.answers.subject_keys.key_digest`), if there is one.
    """

    entries: int
    size: int
    key_digest: str | None


@dataclass(frozen=True, slots=True)
class RecordedErasure:
    """An erasure as the log records it. `repeated`: an earlier attempt of the same request did."""

    pseudonym: str
    size: int
    key_digest: str | None
    repeated: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class ErasureTotals:
    """Totals of all erasures of one answer log: `entries` that are not pruned, below entry `size`.
    `uncounted` erasures did not count theirs.
    """

    entries: int
    size: int
    uncounted: int


class Erasures:
    """The use cases around erasures."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def add(
        self,
        principal: str,
        origin: str,
        pseudonym: str,
        closing: PlannedErasure,
        once: RequestKey | None = None,
    ) -> RecordedErasure:
        """Log that a subject is about to be erased from the answer log `origin`; return what the
        log records, which may be of an earlier attempt.

        `pseudonym` is as `sealgate.trust.receipts.answer_entry` makes it. Raises SealgateError:
        LOG_UNKNOWN, REQUEST_ID_REUSED, RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        try:
            with self._ledger.change(principal, once) as unit:
                policy = self._book.read_for(unit).current(unit.now)
                check_answer_log(policy, origin)
                unit.add(
                    SUBJECT_ERASED,
                    origin=origin,
                    pseudonym=pseudonym,
                    entries=closing.entries,
                    size=closing.size,
                    key_digest=closing.key_digest,
                )
                unit.commit()
        except RepeatedRequest as repeated:
            return self._repeated(repeated.entry)
        return RecordedErasure(pseudonym, closing.size, closing.key_digest, repeated=False)

    def _repeated(self, entry: int) -> RecordedErasure:
        """Return the erasure recorded in entry `entry` of the log; its row may have been edited."""
        with self._ledger.view() as connection:
            query = select(ERASURES.c.pseudonym).where(ERASURES.c.entry == entry)
            pseudonym = connection.scalar(query)
        told = self._ledger.logged().erasures.get(pseudonym or "")
        if told is None or pseudonym is None:
            raise inconsistent(f"entry {entry} tells of no erasure")
        return RecordedErasure(pseudonym, told.size or 0, told.key_digest, repeated=True)

    def all(self) -> list[tuple[str, str]]:
        """Origin and pseudonym of each erasure, oldest first. Raises REGISTRY_UNAVAILABLE."""
        query = select(ERASURES.c.origin, ERASURES.c.pseudonym).order_by(ERASURES.c.entry)
        with self._ledger.view() as connection:
            return [(row.origin, row.pseudonym) for row in connection.execute(query)]

    def erased(self, origin: str) -> ErasureTotals:
        """Return the totals of all erasures of an answer log, from the registry's log.

        Raises SealgateError: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        facts = self._ledger.logged()
        told = [erasure for erasure in facts.erasures.values() if erasure.origin == origin]
        pruned = facts.prunings.get(origin, LoggedPruning())
        return ErasureTotals(
            entries=sum(erasure.entries or 0 for erasure in told) - pruned.closed,
            size=max((erasure.size or 0 for erasure in told), default=0),
            uncounted=sum(erasure.entries is None for erasure in told),
        )

    def told_until(self, origin: str, name: str) -> int:
        """Return the entry of an answer log below which a subject's erasures have counted already.

        Slow: each pseudonym takes tens of milliseconds. Raises as `erased`.
        """
        told = [
            (erasure.size, pseudonym)
            for pseudonym, erasure in self._ledger.logged().erasures.items()
            if erasure.origin == origin and erasure.size
        ]
        found = (size for size, text in sorted(told, reverse=True) if is_pseudonym(text, name))
        return next(found, 0)

    def destroyed_keys(self) -> set[str]:
        """The digests of all keys that erasures destroyed. Raises as `erased`."""
        told = self._ledger.logged().erasures.values()
        return {erasure.key_digest for erasure in told if erasure.key_digest is not None}


class Prunings:
    """The use cases around pruning, in the name of `principal`."""

    def __init__(self, ledger: Ledger, principal: str) -> None:
        self._ledger = ledger
        self._principal = principal

    def prunable(self, origin: str, before: datetime) -> int:
        """Return how many entries of a log, in full tiles, an anchor proves to be older than a
        time.

        The anchor's word is compared with its entry. Raises SealgateError: LOG_INCONSISTENT.
        """
        with self._ledger.change(self._principal) as unit:
            return _prunable(unit, origin, before)

    def left(self, origin: str, before: datetime) -> int:
        """Return how many entries of a log might be pruned by now and were not, as far as anchors
        tell. Raises like `prunable`.
        """
        with self._ledger.change(self._principal) as unit:
            newest = select(func.max(ANCHORS.c.size)).where(ANCHORS.c.origin == origin)
            # The newest tile of a log stays.
            most = max(0, (unit.connection.scalar(newest) or 0) - 1) // WIDTH * WIDTH
            allowed = min(most, _prunable(unit, origin, before))
            return max(0, allowed - pruned_of(unit.connection, origin))

    def newest(self) -> datetime:
        """Return the time of the newest entry of the registry's log, or of the freshness statement
        where that is newer: by the clocks of the gateways. Raises SealgateError: LOG_INCONSISTENT,
        DOCUMENT_MALFORMED.
        """
        with self._ledger.view() as connection:
            size = next_index(connection, LOG)
            told = [
                canonical.decode(leaf)["time"]
                for (leaf,) in leaves(connection, LOG, size - 1, size)
            ]
            if envelope := stored_envelope(connection):
                told.append(Freshness.decode(Envelope.decode(envelope).payload).issued)
        return max(map(parse_time, told))

    def pruned(self, origin: str) -> int:
        """Return how many entries of a log were to be pruned. Raises REGISTRY_UNAVAILABLE."""
        with self._ledger.view() as connection:
            return pruned_of(connection, origin)

    def add(
        self, origin: str, size: int, before: datetime, closed: Callable[[int, int], int]
    ) -> None:
        """Log that the first `size` entries of an answer log, full tiles, are about to be pruned.

        `closed` says how many entries of a range have no opening: the log records these too.
        Raises SealgateError(RETENTION_HOLDS) unless an anchor shows all of them to be from before
        that time; LOG_INCONSISTENT, RECORD_FAILED.
        """
        with self._ledger.change(self._principal) as unit:
            if size % WIDTH or size > _prunable(unit, origin, before):
                raise SealgateError(Reason.RETENTION_HOLDS, f"{size} entries of {origin}")
            before_it = unit.logged().prunings.get(origin, LoggedPruning())
            if size <= before_it.size:
                return
            told = before_it.closed + closed(before_it.size, size)
            unit.add(LOG_PRUNED, origin=origin, size=size, closed=told)
            unit.commit()


def destroyed_keys_in(path: Path) -> set[str]:
    """The digests of destroyed keys of which a registry's SQLite database tells, unchecked.

    Raises SealgateError(REGISTRY_UNAVAILABLE) where it cannot be read.
    """
    query = select(ERASURES.c.key_digest).where(ERASURES.c.key_digest.is_not(None))
    database = Database.open_unchanged(path, "registry")
    try:
        with database.reading() as connection:
            return set(connection.scalars(query))
    finally:
        database.close()


def pruned_of(connection: Connection, origin: str) -> int:
    """Return how many entries of a log were to be pruned so far."""
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
