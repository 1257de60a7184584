"""Searches opened entries of an answer log, by its index or one by one.

Each result is proved by its receipt. Completeness is only the database's word: someone who edited
an opening can hide its entry from a search, but not from a reader who opens every entry.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from registry.answers.encryption import Opening, OpeningCipher, StoredOpening
from registry.answers.index import (
    DAY,
    INDEXED,
    SINCE,
    SUBJECT,
    UNTIL,
    Postings,
    all_days,
    remove_entries,
)
from registry.answers.upkeep import has_plain_openings
from registry.log.rows import (
    ANSWERS,
    OPENINGS,
    PLAIN_OPENINGS,
    POSTINGS,
    first_index,
    newest_checkpoint,
    next_index,
)
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FIELDS, fields_of

SEARCHABLE = frozenset({*FIELDS, DAY, SINCE, UNTIL, SUBJECT})
"""The names that a search accepts: fields, the day or the bounds of an entry's time, and its
subject.
"""
ANYTHING: Mapping[str, str] = MappingProxyType({})
"""A search that names nothing."""

SPAN = 1 << 18
"""Entries for which the index is asked at once."""
_BLOCK = 4096
COUNTED_AT_ONCE = 1 << 15
"""Entries of a block of which it is remembered how many are closed."""
_GROUP = 256
_FIRST_GROUP = 32


@dataclass(frozen=True, slots=True)
class FoundEntries:
    """The openings of some entries, by index; `missing` have none, or none that can be read. All
    entries before `next` have been looked at.
    """

    next: int
    openings: tuple[tuple[int, Opening], ...]
    missing: tuple[int, ...]


class Openings:
    """The openings of one answer log."""

    def __init__(self, database: Database, cipher: OpeningCipher, postings: Postings) -> None:
        self._database = database
        self._cipher = cipher
        self._postings = postings
        # Closed entries of a block, by its bounds.
        self._closed: dict[tuple[int, int], int] = {}

    def get(self, index: int) -> Opening:
        """Return what entry `index` commits to.

        Raises SealgateError: ENTRY_UNKNOWN, also where its subject's key is destroyed;
        LOG_INCONSISTENT for an opening that was altered.
        """
        with self._database.reading() as connection:
            rows = _stored(connection, OPENINGS.c.index == index)
        if not rows:
            raise SealgateError(Reason.ENTRY_UNKNOWN, f"there is no opening of {index}")
        decrypted = self._cipher.decrypt(rows)
        if index in decrypted.altered:
            raise SealgateError(Reason.LOG_INCONSISTENT, f"the opening of {index} was altered")
        opening = decrypted.openings.get(index)
        if opening is None:
            raise SealgateError(Reason.ENTRY_UNKNOWN, "the subject has no key")
        return opening

    def some(self, entries: Sequence[int]) -> Mapping[int, Opening]:
        """Return what entries commit to, as far as they can be opened. Raises
        SealgateError(REGISTRY_UNAVAILABLE).
        """
        with self._database.reading() as connection:
            rows = _stored(connection, OPENINGS.c.index.in_(entries))
        return self._cipher.decrypt(rows).openings

    def about(self, subject: str, start: int, end: int) -> list[int]:
        """The entries about a subject from `start` up to `end` that have openings, in order."""
        found: list[int] = []
        owned = self._owned(subject)
        for first in range(start, end, _BLOCK):
            here = _between(first, min(first + _BLOCK, end))
            query = select(OPENINGS.c.index).where(*here, owned).order_by(OPENINGS.c.index)
            with self._database.reading() as connection:
                found += connection.scalars(query)
        return found

    def closed(self) -> int:
        """Count the kept entries that have no opening."""
        with self._database.reading() as connection:
            return _closed(connection, 0, next_index(connection, ANSWERS))

    def closed_by_memory(self, index: int) -> int:
        """The same at less cost: of full blocks of entries but that of entry `index`, what they
        were last counted for.
        """
        total = 0
        with self._database.reading() as connection:
            first, end = first_index(connection, ANSWERS), next_index(connection, ANSWERS)
            for at in range(first // COUNTED_AT_ONCE * COUNTED_AT_ONCE, end, COUNTED_AT_ONCE):
                block = max(first, at), at + COUNTED_AT_ONCE
                count = self._closed.get(block)
                if count is None or block[0] <= index < block[1]:
                    count = _closed(connection, *block)
                if block[1] <= end:
                    self._closed[block] = count
                total += count
        return total

    def closed_between(self, start: int, end: int) -> int:
        """Count the kept entries from `start` up to `end` that have no opening."""
        return closed_between(self._database, start, end)

    def erase(self, subject: str, end: int) -> int:
        """Remove the openings of entries before `end` about a subject, and what the index has of
        them; return how many there were.

        In blocks, so that answers go on. `purge` removes what is left of them in files. Raises
        SealgateError: RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        self._cipher.forget()
        self._postings.forget()
        removed = 0
        owned = self._owned(subject)
        for first in range(0, end, _BLOCK):
            here = _between(first, min(first + _BLOCK, end))
            query = select(OPENINGS.c.index).where(*here, owned).order_by(OPENINGS.c.index)
            with self._database.reading() as connection:
                gone = connection.scalars(query).all()
            if gone:
                with self._database.writing() as connection:
                    erased = delete(OPENINGS).where(*here, owned)
                    removed += connection.execute(erased).rowcount
                    remove_entries(connection, gone)
                    connection.commit()
                self._closed.clear()
        return removed

    def _owned(self, subject: str) -> ColumnElement[bool]:
        """The condition of openings of entries about a subject, on any day."""
        with self._database.reading() as connection:
            days = all_days(connection)
        return OPENINGS.c.owner.in_([self._cipher.owner(subject, day) for day in days])

    def purge(self) -> None:
        """Remove erased openings from the database's files. Raises
        SealgateError(ERASURE_UNFINISHED).
        """
        self._database.purge(OPENINGS, POSTINGS)

    def find(
        self,
        start: int,
        end: int,
        values: Collection[str],
        where: Mapping[str, str] = ANYTHING,
    ) -> Iterator[FoundEntries]:
        """Look through the entries from `start` up to `end` for those that have each of `values`
        among their fields and each value of `where` under its name (SEARCHABLE), in the log's
        order; without either, all.

        Where a name is indexed (`postings.INDEXED`), the index leads to the entries, and of those
        that cannot be opened only the ones that it leads to are told. Raises SealgateError
        (ENTRY_UNKNOWN) for a range that the log does not have.
        """
        with self._database.reading() as connection:
            newest = newest_checkpoint(connection, ANSWERS)
            if newest is None or not 0 <= start <= end <= newest.size:
                raise SealgateError(Reason.ENTRY_UNKNOWN, f"no entries {start} to {end}")
        for last, block in self._candidates(start, end, where):
            with self._database.reading() as connection:
                rows = _stored(connection, *_within(block))
            openings = self._cipher.decrypt(rows).openings
            matching = {i: o for i, o in openings.items() if _matches(o, values, where)}
            told = [i for i in block if i in matching or i not in openings]
            yield from _groups(last, told, matching)

    def _candidates(
        self, start: int, end: int, where: Mapping[str, str]
    ) -> Iterator[tuple[int, Sequence[int]]]:
        """Entries to look at together, and up to where nothing else is: what the index leads to is
        held for a span of the log at a time.
        """
        indexed = {name: value for name, value in where.items() if name in INDEXED}
        if not indexed:
            yield from _blocks(start, end, None)
            return
        for first in range(start, end, SPAN):
            last = min(first + SPAN, end)
            with self._database.reading() as connection:
                by_index = self._postings.find(connection, first, last, indexed)
            yield from _blocks(first, last, by_index)


def closed_between(database: Database, start: int, end: int) -> int:
    """Count the kept entries from `start` up to `end` that have no opening."""
    with database.reading() as connection:
        return _closed(connection, start, end)


def _blocks(
    start: int, end: int, by_index: Sequence[int] | None
) -> Iterator[tuple[int, Sequence[int]]]:
    """Entries to look at together, and up to where nothing else is."""
    if by_index is None:
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            yield last, range(first, last)
        return
    # The first are soon there, and few are opened in vain for whoever looks at a page of them.
    at, count = 0, _FIRST_GROUP
    while block := by_index[at : at + count]:
        at += len(block)
        yield (block[-1] + 1 if at < len(by_index) else end), block
        count = min(2 * count, _GROUP)
    if not by_index and start < end:
        yield end, ()


def _closed(connection: Connection, start: int, end: int) -> int:
    start = max(start, first_index(connection, ANSWERS))
    end = min(end, next_index(connection, ANSWERS))

    def count(table: Table) -> int:
        here = (table.c.index >= start, table.c.index < end)
        return connection.scalar(select(func.count()).select_from(table).where(*here)) or 0

    # Nobody may have encrypted what an earlier release has left.
    plain = count(PLAIN_OPENINGS) if has_plain_openings(connection) else 0
    return max(0, end - start) - count(OPENINGS) - plain


def _between(start: int, end: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return OPENINGS.c.index >= start, OPENINGS.c.index < end


def _within(block: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    if isinstance(block, range):
        return _between(block.start, block.stop)
    return (OPENINGS.c.index.in_(block),)


def _stored(connection: Connection, *conditions: ColumnElement[bool]) -> list[StoredOpening]:
    leaves = ANSWERS.leaves
    query = (
        select(OPENINGS, leaves.c.data)
        .join(leaves, leaves.c.index == OPENINGS.c.index)
        .where(*conditions)
        .order_by(OPENINGS.c.index)
    )
    return [
        StoredOpening(index, str(day), _as_bytes(owner), _as_bytes(sealed), _as_bytes(leaf))
        for index, day, owner, sealed, leaf in connection.execute(query)
    ]


def _as_bytes(stored: object) -> bytes:
    """SQLite stores whatever somebody writes into a column; text and numbers open nothing."""
    return stored if isinstance(stored, bytes) else b""


def _groups(
    last: int, told: Sequence[int], matching: Mapping[int, Opening]
) -> Iterator[FoundEntries]:
    for at in range(0, max(1, len(told)), _GROUP):
        group = told[at : at + _GROUP]
        yield FoundEntries(
            last if told[-1:] == group[-1:] else group[-1] + 1,
            tuple((index, matching[index]) for index in group if index in matching),
            tuple(index for index in group if index not in matching),
        )


def _matches(opening: Opening, values: Collection[str], where: Mapping[str, str]) -> bool:
    if not set(values) <= set(opening.fields):
        return False
    if not where:
        return True
    told = dict(zip(fields_of(len(opening.fields)), opening.fields, strict=True))
    told |= {DAY: opening.day, SUBJECT: opening.subject}
    time = told["time"]
    if time < where.get(SINCE, time) or time > where.get(UNTIL, time):
        return False
    return all(told.get(n) == value for n, value in where.items() if n not in (SINCE, UNTIL))
