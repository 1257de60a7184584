"""The index of an answer log: entries of a day by keyed tags, and reports of outcomes by answer.

A row lists the entries of one group (at most 256) that share a value: `first` is the group's first
entry, each byte of `offsets` an entry's distance from it. Rows are kept by segments of 2048
entries, so that a commit touches few pages, however long the log is; a search probes each segment
of a day. A table of its own says of which days the entries of a segment are.

A search decrypts the openings that the index leads to and compares them, so an edited index hides
entries and adds none.

An answer has at most one report of outcomes. Its row is written in the transaction that adds the
entry. Rows are not signed, so a process also remembers the reports that it has recorded or read:
a deleted row lets no second report in. Both hold indices and nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, tuple_, update

from registry.answers.encryption import DATE_LENGTH, IndexKeys, Opening
from registry.log.rows import DAYS, OUTCOMES, POSTINGS, inconsistent
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED, fields_of

GROUP = 256
"""How many entries a row can list."""
DAY, SUBJECT = "day", "subject"
SINCE, UNTIL = "since", "until"
"""Bounds of an entry's time, each in the form of `format_micros`, both within."""
_CALLER, _UNIQUE = "principal", "request_id"
_REPEATED = (_CALLER, "model", "outcome")
INDEXED = frozenset({DAY, SINCE, UNTIL, SUBJECT, _UNIQUE, *_REPEATED})
"""The names that the index searches by: fields, as far as an entry has them, subject, day and time.
"""
_SEGMENT = 2048
_CACHED = 16384
_PROBED_AT_ONCE = 500

_HERE = tuple(
    column == bindparam(f"at_{column.name}")
    for column in (POSTINGS.c.segment, POSTINGS.c.tag, POSTINGS.c.first)
)
_ADD = Prepared(insert(POSTINGS), "segment", "tag", "first", "offsets")
_ADD_DAY = Prepared(insert(DAYS), "segment", "day")
_FIND_DAY = Prepared(
    select(DAYS.c.day).where(
        DAYS.c.segment == bindparam("segment"), DAYS.c.day == bindparam("day")
    ),
    "segment",
    "day",
)
_ROWS = select(POSTINGS.c.first, POSTINGS.c.offsets)
_NARROW = update(POSTINGS).where(*_HERE).values(offsets=bindparam("left"))
_REMOVE = delete(POSTINGS).where(*_HERE)
_INPUT, _OUTCOME = FIELDS.index("input"), FIELDS.index("outcome")
_READ_AT_ONCE = 32
_NAMES = [f"entry_{number}" for number in range(_READ_AT_ONCE)]

_ADD_REPORT = Prepared(insert(OUTCOMES), "entry", "report")
_REPORTS = Prepared(
    select(OUTCOMES.c.entry, OUTCOMES.c.report).where(
        OUTCOMES.c.entry.in_([bindparam(name) for name in _NAMES])
    ),
    *_NAMES,
)
ReportRows = Sequence[tuple[int, int]]


class PostingGroup(NamedTuple):
    """The index rows of a group: its days, and the offsets of the entries that have each tag."""

    days: frozenset[str]
    offsets: Mapping[int, bytearray]


class Postings:
    """The index of one log, under its keys."""

    def __init__(self, keys: IndexKeys) -> None:
        self._days: frozenset[tuple[int, str]] = frozenset()
        self._new_tag = keys.posting
        # On the request path: few values, and combinations of them, make up most entries of a day.
        self._tag = lru_cache(_CACHED)(keys.posting)
        self._tags = lru_cache(_CACHED)(self._new_tags)

    def group(self, openings: Iterable[tuple[int, Opening]]) -> PostingGroup:
        """The index rows of some entries, given by their distance from the first one."""
        # Most entries of a group have few combinations of values between them.
        alike: dict[tuple[str, ...], bytearray] = {}
        unique: list[tuple[int, int]] = []
        for offset, opening in openings:
            fields, day = opening.fields, opening.fields[0][:DATE_LENGTH]
            places = _places(len(fields))
            values = (day, opening.subject, *places.repeated(fields))
            if values in alike:
                alike[values].append(offset)
            else:
                alike[values] = bytearray((offset,))
            for place in places.unique:
                if fields[place]:
                    unique.append((self._new_tag(_UNIQUE, day, fields[place]), offset))
        offsets: dict[int, bytearray] = {}
        for values, those in alike.items():
            for tag in self._tags(*values):
                offsets[tag] = bytearray(sorted(offsets[tag] + those)) if tag in offsets else those
        for tag, offset in unique:
            offsets[tag] = bytearray(sorted((*offsets.get(tag, ()), offset)))
        return PostingGroup(frozenset(values[0] for values in alike), offsets)

    def add(self, transaction: DriverTransaction, first: int, group: PostingGroup) -> None:
        """Add a group whose first entry is `first`."""
        segment = first // _SEGMENT
        rows = [
            (segment, tag, first, bytes(offsets)) for tag, offsets in sorted(group.offsets.items())
        ]
        if rows:
            transaction.run_many(_ADD, rows)
        for _, day in _of(segment, group) - self._days:
            if transaction.one(_FIND_DAY, (segment, day)) is None:
                transaction.run(_ADD_DAY, (segment, day))

    def settle(self, first: int, group: PostingGroup) -> None:
        """Remember the days of a group that was committed."""
        self._days = _of(first // _SEGMENT, group)

    def find(
        self, connection: Connection, start: int, end: int, where: Mapping[str, str]
    ) -> list[int]:
        """The entries from `start` up to `end` that the index has under each value of `where`, and
        a few others; its names are of INDEXED.
        """
        days = _segments(connection, start, end, _bounds(where))
        found: set[int] | None = None
        for name, value in where.items():
            if name in (DAY, SINCE, UNTIL):
                continue
            # Where the caller is the subject, one row serves both.
            named = (name, _CALLER) if name == SUBJECT else (name,)
            tags = {self._new_tag(n, d, value): those for n in named for d, those in days.items()}
            probes = [(segment, tag) for tag, those in tags.items() for segment in those]
            these = set(_entries(connection, probes, start, end))
            found = these if found is None else found & these
            if not found:
                return []
        if found is None:
            found = {i for segments in days.values() for i in _indices(segments, start, end)}
        return sorted(found)

    def forget(self) -> None:
        """Drop the values that are kept in memory."""
        self._tag.cache_clear()
        self._tags.cache_clear()

    def _new_tags(self, day: str, subject: str, *values: str) -> tuple[int, ...]:
        named = list(zip(_REPEATED, values, strict=True))
        if subject != values[_REPEATED.index(_CALLER)]:
            named.append((SUBJECT, subject))
        return tuple({self._tag(name, day, value) for name, value in named if value})


def all_days(connection: Connection) -> list[str]:
    """The days that entries are of."""
    return list(connection.scalars(select(DAYS.c.day).distinct()))


def remove_entries(connection: Connection, gone: Sequence[int]) -> None:
    """Remove entries, given in order, from the index."""
    for at in range(0, len(gone), _SEGMENT):
        some = gone[at : at + _SEGMENT]
        _trim(connection, some[0], some[-1], frozenset(some).__contains__)


def remove_before(connection: Connection, end: int) -> None:
    """Remove the entries before `end` from the index."""
    whole = (end - GROUP) // _SEGMENT
    for table in (POSTINGS, DAYS):
        connection.execute(delete(table).where(table.c.segment < whole))
    _trim(connection, whole * _SEGMENT, end - 1, lambda index: index < end)


class _Places(NamedTuple):
    """An entry's indexed fields: takes those with frequent values; the positions of others."""

    repeated: Callable[[Sequence[str]], tuple[str, ...]]
    unique: tuple[int, ...]


@cache
def _places(count: int) -> _Places:
    names = fields_of(count)
    unique = tuple(place for place, name in enumerate(names) if name == _UNIQUE)
    return _Places(itemgetter(*map(names.index, _REPEATED)), unique)


def _of(segment: int, group: PostingGroup) -> frozenset[tuple[int, str]]:
    return frozenset((segment, day) for day in group.days)


def _trim(connection: Connection, low: int, high: int, is_gone: Callable[[int], bool]) -> None:
    """Remove entries from the rows of the groups that reach from `low` to `high`."""
    segments = _reaching(low, high + 1)
    here = (POSTINGS.c.segment >= segments.start, POSTINGS.c.segment < segments.stop)
    narrowed: list[dict[str, Any]] = []
    emptied: list[dict[str, Any]] = []
    for row in connection.execute(select(POSTINGS).where(*here)):
        left = bytes(o for o in row.offsets if not is_gone(row.first + o))
        at = {"at_segment": row.segment, "at_tag": row.tag, "at_first": row.first}
        if not left:
            emptied.append(at)
        elif len(left) < len(row.offsets):
            narrowed.append({**at, "left": left})
    if emptied:
        connection.execute(_REMOVE, emptied)
    if narrowed:
        connection.execute(_NARROW, narrowed)


def _reaching(start: int, end: int) -> range:
    """The segments whose groups have entries from `start` up to `end`."""
    return range(max(0, start - GROUP + 1) // _SEGMENT, (end - 1) // _SEGMENT + 1)


def _bounds(where: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """The conditions on the days of a search."""
    found = [DAYS.c.day == where[DAY]] if DAY in where else []
    if SINCE in where:
        found.append(DAYS.c.day >= where[SINCE][:DATE_LENGTH])
    if UNTIL in where:
        found.append(DAYS.c.day <= where[UNTIL][:DATE_LENGTH])
    return found


def _segments(
    connection: Connection, start: int, end: int, bounds: Sequence[ColumnElement[bool]]
) -> dict[str, list[int]]:
    """The segments of each day within `bounds`, as far as they have entries from `start` to
    `end`.
    """
    reaching = _reaching(start, end)
    query = select(DAYS.c.segment, DAYS.c.day).where(
        DAYS.c.segment >= reaching.start, DAYS.c.segment < reaching.stop, *bounds
    )
    found: dict[str, list[int]] = {}
    for segment, day in connection.execute(query):
        found.setdefault(day, []).append(segment)
    return found


def _indices(segments: Iterable[int], start: int, end: int) -> Iterator[int]:
    """The entries that groups of these segments may have."""
    for segment in segments:
        first = segment * _SEGMENT
        yield from range(max(start, first), min(end, first + _SEGMENT + GROUP - 1))


def _entries(
    connection: Connection, probes: Sequence[tuple[int, int]], start: int, end: int
) -> Iterator[int]:
    """The entries that rows of these segments and tags have."""
    columns = tuple_(POSTINGS.c.segment, POSTINGS.c.tag)
    for at in range(0, len(probes), _PROBED_AT_ONCE):
        some = columns.in_(probes[at : at + _PROBED_AT_ONCE])
        for first, offsets in connection.execute(_ROWS.where(some)):
            yield from (i for o in offsets if start <= (i := first + o) < end)


class ReportIndex:
    """The report of each answer of one log. Safe for many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, int] = {}

    def add(
        self, transaction: DriverTransaction, first: int, openings: Iterable[Opening]
    ) -> ReportRows:
        """Note the reports among entries from `first` on; return them as (entry, report).

        Raises SealgateError(RECORD_FAILED) for an entry that this process knows the report of; the
        database refuses others that have a row.
        """
        rows = [
            (int(opening.fields[_INPUT]), index)
            for index, opening in enumerate(openings, first)
            if opening.fields[_OUTCOME] == REPORTED
        ]
        for entry, _ in rows:
            if entry in self._known:
                raise SealgateError(Reason.RECORD_FAILED, f"{entry} has a report already")
        if rows:
            transaction.run_many(_ADD_REPORT, rows)
        return rows

    def check(self, transaction: DriverTransaction, rows: ReportRows) -> None:
        """Check before the commit that the added rows are there. Raises
        SealgateError(LOG_INCONSISTENT).
        """
        for at in range(0, len(rows), _READ_AT_ONCE):
            here = rows[at : at + _READ_AT_ONCE]
            entries = [entry for entry, _ in here]
            padded = entries + entries[-1:] * (_READ_AT_ONCE - len(entries))
            if sorted(transaction.all(_REPORTS, padded)) != sorted(here):
                raise inconsistent(f"a trigger changed reports from {here[0][1]} on")

    def settle(self, rows: ReportRows) -> None:
        """Remember reports that are recorded."""
        self._known.update(rows)

    def is_first(self, entry: int, report: int) -> bool:
        """Remember that `report` reports `entry`, as the log's entries say; tell whether it is the
        earliest that does. Call it in the log's order.
        """
        earliest = min(report, self._known.get(entry, report))
        self._known[entry] = earliest
        return earliest == report

    def find(self, entries: Sequence[int]) -> Mapping[int, int]:
        """The reports of entries, by entry; what is remembered goes before a row. Raises
        SealgateError(REGISTRY_UNAVAILABLE).
        """
        found: dict[int, int] = {}
        with self._database.reading() as connection:
            for at in range(0, len(entries), _PROBED_AT_ONCE):
                here = OUTCOMES.c.entry.in_(entries[at : at + _PROBED_AT_ONCE])
                rows = connection.execute(select(OUTCOMES).where(here))
                found.update((entry, report) for entry, report in rows)
        found.update((entry, self._known[entry]) for entry in entries if entry in self._known)
        return found


def forget_reports_before(connection: Connection, end: int) -> None:
    """Forget the reports of entries before `end`, which are pruned."""
    connection.execute(delete(OUTCOMES).where(OUTCOMES.c.entry < end))
