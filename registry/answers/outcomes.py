"""Which entries of an answer log report the outcomes of others: one report for each answer.

The rows follow from the entries alone, and are written in the transaction that adds these. They
are not signed, so a process also remembers the reports that it has recorded or read from the
entries: a deleted row lets no second report in. Both hold indices and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from registry.answers.encryption import Opening
from registry.log.rows import OUTCOMES, inconsistent
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED

_INPUT, _OUTCOME = FIELDS.index("input"), FIELDS.index("outcome")
_PROBED_AT_ONCE = 500
_READ_AT_ONCE = 32
_NAMES = [f"entry_{number}" for number in range(_READ_AT_ONCE)]

_ADD = Prepared(insert(OUTCOMES), "entry", "report")
_READ_BACK = Prepared(
    select(OUTCOMES.c.entry, OUTCOMES.c.report).where(
        OUTCOMES.c.entry.in_([bindparam(name) for name in _NAMES])
    ),
    *_NAMES,
)
ReportRows = Sequence[tuple[int, int]]


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
            transaction.run_many(_ADD, rows)
        return rows

    def check(self, transaction: DriverTransaction, rows: ReportRows) -> None:
        """Check before the commit that the added rows are there. Raises
        SealgateError(LOG_INCONSISTENT).
        """
        for at in range(0, len(rows), _READ_AT_ONCE):
            here = rows[at : at + _READ_AT_ONCE]
            entries = [entry for entry, _ in here]
            padded = entries + entries[-1:] * (_READ_AT_ONCE - len(entries))
            if sorted(transaction.all(_READ_BACK, padded)) != sorted(here):
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


def forget_before(connection: Connection, end: int) -> None:
    """Forget the reports of entries before `end`, which are pruned."""
    connection.execute(delete(OUTCOMES).where(OUTCOMES.c.entry < end))
