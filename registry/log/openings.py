"""Looking through what an answer log's entries commit to, without an index on the path of answers.

What is found is proved by its receipt. That nothing else matched is the database's word: whoever
edited an opening can hide its entry from a search, though not from one who has every entry opened.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select

from registry.database import Database
from registry.log.rows import newest_checkpoint, next_index
from registry.log.tables import ANSWERS, OPENINGS
from sealgate.reasons import Reason, Refusal
from sealgate.trust.answer import fields_of

_BLOCK = 4096
_GROUP = 256
_ERASED_AT_ONCE = 65536


@dataclass(frozen=True, slots=True)
class Opening:
    """What a leaf commits to: a value for each of its fields (`answer.fields_of`), and what its
    salts derive from, a nonce and the subject whose key it is.
    """

    fields: tuple[str, ...]
    nonce: bytes
    subject: str


@dataclass(frozen=True, slots=True)
class Found:
    """The openings of some entries, by index; `missing` have none, or none that can be read. All
    entries before `next` have been looked at.
    """

    next: int
    openings: tuple[tuple[int, Opening], ...]
    missing: tuple[int, ...]


class Openings:
    """The openings of one answer log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, index: int) -> Opening:
        """Return what entry `index` commits to.

        Raises Refusal: ENTRY_UNKNOWN; LOG_INCONSISTENT for an opening with other fields.
        """
        query = select(OPENINGS).where(OPENINGS.c.index == index)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise Refusal(Reason.ENTRY_UNKNOWN, f"there is no opening of {index}")
        opening = _read(row)
        if opening is None:
            raise Refusal(Reason.LOG_INCONSISTENT, f"the opening of {index} has other fields")
        return opening

    def about(self, subject: str, start: int, end: int) -> list[int]:
        """The entries about a subject from `start` up to `end` that have openings, in order."""
        found: list[int] = []
        for first in range(start, end, _ERASED_AT_ONCE):
            here = _between(first, min(first + _ERASED_AT_ONCE, end))
            query = select(OPENINGS.c.index).where(*here, OPENINGS.c.subject == subject)
            with self._database.reading() as connection:
                found += connection.scalars(query.order_by(OPENINGS.c.index))
        return found

    def closed(self) -> int:
        """How many of the entries that are kept have no opening."""
        with self._database.reading() as connection:
            return _closed(connection, 0, next_index(connection, ANSWERS))

    def closed_between(self, start: int, end: int) -> int:
        """How many of the entries from `start` up to `end` are kept and have no opening."""
        with self._database.reading() as connection:
            return _closed(connection, start, end)

    def erase(self, subject: str, end: int) -> int:
        """Remove the openings of entries before `end` about a subject; return how many there were.

        In blocks, so that answers go on. `purge` removes what is left of them in files. Raises
        Refusal: RECORD_FAILED, REGISTRY_UNAVAILABLE.
        """
        removed = 0
        for first in range(0, end, _ERASED_AT_ONCE):
            here = _between(first, min(first + _ERASED_AT_ONCE, end))
            with self._database.writing() as connection:
                erased = delete(OPENINGS).where(*here, OPENINGS.c.subject == subject)
                removed += connection.execute(erased).rowcount
                connection.commit()
        return removed

    def purge(self) -> None:
        """Remove erased openings from the database's files. Raises Refusal(ERASURE_UNFINISHED)."""
        self._database.purge(OPENINGS)

    def find(self, start: int, end: int, values: Sequence[str]) -> Iterator[Found]:
        """Look through the entries from `start` up to `end` for those that have each of `values`
        among their fields, in the log's order; without values, all.

        Each block of 4096 is read in a transaction of its own. Raises Refusal(ENTRY_UNKNOWN) for
        a range that the log does not have.
        """
        with self._database.reading() as connection:
            newest = newest_checkpoint(connection, ANSWERS)
        if newest is None or not 0 <= start <= end <= newest.size:
            raise Refusal(Reason.ENTRY_UNKNOWN, f"no entries {start} to {end}")
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            with self._database.reading() as connection:
                read = _block(connection, first, last, values)
                missing = _missing(connection, first, last)
            there = {index: opening for index, opening in read if opening is not None}
            told = sorted({*missing, *(index for index, _ in read)})
            for at in range(0, max(1, len(told)), _GROUP):
                group = told[at : at + _GROUP]
                yield Found(
                    last if told[-1:] == group[-1:] else group[-1] + 1,
                    tuple((index, there[index]) for index in group if index in there),
                    tuple(index for index in group if index not in there),
                )


def _closed(connection: Connection, start: int, end: int) -> int:
    leaves = ANSWERS.leaves.c.index
    kept = select(func.count()).where(leaves >= start, leaves < end)
    opened = select(func.count()).where(*_between(start, end))
    return int(connection.scalar(kept) or 0) - int(connection.scalar(opened) or 0)


def _between(start: int, end: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return OPENINGS.c.index >= start, OPENINGS.c.index < end


def _block(
    connection: Connection, first: int, last: int, values: Sequence[str]
) -> list[tuple[int, Opening | None]]:
    query = select(OPENINGS).where(*_between(first, last))
    for value in values:
        # A value as it stands in the list, so only whole ones are found.
        query = query.where(OPENINGS.c.fields.contains(json.dumps(value), autoescape=True))
    return [
        (int(row["index"]), opening)
        for row in connection.execute(query.order_by(OPENINGS.c.index)).mappings()
        if (opening := _read(row)) is None or set(values) <= set(opening.fields)
    ]


def _missing(connection: Connection, first: int, last: int) -> list[int]:
    here = _between(first, last)
    there = set(connection.scalars(select(OPENINGS.c.index).where(*here)))
    return [index for index in range(first, last) if index not in there]


def _read(row: RowMapping) -> Opening | None:
    """An opening, unless somebody edited it into what is none."""
    try:
        fields = json.loads(row["fields"])
        if not isinstance(fields, list):
            return None
        fields_of(len(fields))
    except (ValueError, Refusal):
        return None
    return Opening(tuple(map(str, fields)), bytes(row["nonce"]), row["subject"])
