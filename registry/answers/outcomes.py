"""Which entries of an answer log report the outcomes of others: one report for each answer.

The rows follow from the entries alone, and are written in the transaction that adds these. They
hold indices and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from registry.answers.encryption import Opening
from registry.log.tables import OUTCOMES
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED

_INPUT, _OUTCOME = FIELDS.index("input"), FIELDS.index("outcome")
_ADD = Prepared(insert(OUTCOMES), "entry", "report")
_PROBED_AT_ONCE = 500


def add_reports(transaction: DriverTransaction, first: int, openings: Iterable[Opening]) -> None:
    """Note the reports among entries from `first` on."""
    rows = [
        (int(opening.fields[_INPUT]), index)
        for index, opening in enumerate(openings, first)
        if opening.fields[_OUTCOME] == REPORTED
    ]
    if rows:
        transaction.run_many(_ADD, rows)


def find_reports(database: Database, entries: Sequence[int]) -> Mapping[int, int]:
    """The reports of entries, by entry. Raises SealgateError(REGISTRY_UNAVAILABLE)."""
    found: dict[int, int] = {}
    with database.reading() as connection:
        for at in range(0, len(entries), _PROBED_AT_ONCE):
            here = OUTCOMES.c.entry.in_(entries[at : at + _PROBED_AT_ONCE])
            rows = connection.execute(select(OUTCOMES).where(here))
            found.update((entry, report) for entry, report in rows)
    return found


def forget_before(connection: Connection, end: int) -> None:
    """Forget the reports of entries before `end`, which are pruned."""
    connection.execute(delete(OUTCOMES).where(OUTCOMES.c.entry < end))
