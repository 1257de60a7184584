"""Prepared statements on the driver's own connection, in either database."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import bindparam, insert, select, update

from registry.log.rows import INDEX_KEY, OPENINGS
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

pytestmark = pytest.mark.no_tables

COLUMNS = ("index", "day", "owner", "sealed")
ADD = Prepared(insert(OPENINGS), *COLUMNS)
FIND = Prepared(
    select(*OPENINGS.c)
    .where(OPENINGS.c.index >= bindparam("first"), OPENINGS.c.index < bindparam("end"))
    .order_by(OPENINGS.c.index),
    "first",
    "end",
)
MOVE = Prepared(
    update(OPENINGS).where(OPENINGS.c.index == bindparam("at")).values(day=bindparam("then")),
    "then",
    "at",
)
ROWS = [(2**40 + n, "2026-11-29", bytes([n, 0, 255]), b"%s?" * n) for n in range(5)]
EVERYTHING = (0, 2**62)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database.open(database_url, "answers")) as database:
        yield database


def stored(database: Database) -> list[tuple[object, ...]]:
    with database.appending() as transaction:
        return transaction.all(FIND, EVERYTHING)


def test_rows_come_back_as_they_were_added(database: Database) -> None:
    with database.appending() as transaction:
        transaction.run(ADD, ROWS[0])
        transaction.run_many(ADD, iter(ROWS[1:]))
        transaction.run(MOVE, ("2026-11-30", ROWS[2][0]))
        transaction.commit()
    moved = (ROWS[2][0], "2026-11-30", *ROWS[2][2:])
    assert stored(database) == [*ROWS[:2], moved, *ROWS[3:]]
    with database.appending() as transaction:
        assert transaction.one(FIND, (ROWS[3][0], ROWS[4][0])) == ROWS[3]
        assert transaction.one(FIND, (0, 1)) is None


def test_nothing_is_written_without_a_commit(database: Database) -> None:
    with database.appending() as transaction:
        transaction.run_many(ADD, ROWS)

    def fail() -> None:
        with database.appending() as transaction:
            transaction.run_many(ADD, ROWS)
            raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        fail()
    assert stored(database) == []


def test_a_connection_is_used_again_only_after_a_commit(database: Database) -> None:
    def append(place: int, *, commits: bool) -> object:
        with database.appending() as transaction:
            transaction.run(ADD, ROWS[place])
            # Rows that nobody fetches must not keep the database's state from moving on.
            transaction.one(FIND, EVERYTHING)
            if commits:
                transaction.commit()
        return stored(database)

    assert append(0, commits=True) == ROWS[:1]
    assert append(1, commits=False) == ROWS[:1]
    assert append(1, commits=True) == ROWS[:2]
    database.purge(OPENINGS)
    assert append(2, commits=True) == ROWS[:3]
    database.close()
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_errors_of_the_driver_are_refusals(database: Database) -> None:
    with refused(Reason.RECORD_FAILED), database.appending() as transaction:
        transaction.run_many(ADD, [ROWS[0], ROWS[0]])
    with refused(Reason.RECORD_FAILED), database.writing() as connection:
        DriverTransaction.of(connection).run_many(ADD, [ROWS[0], ROWS[0]])
    # The connection can be used again.
    with database.appending() as transaction:
        transaction.run(ADD, ROWS[0])
        transaction.commit()
    assert stored(database) == ROWS[:1]


def test_it_shares_the_transaction_of_sqlalchemy(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(INDEX_KEY), {"identity": b"key"})
        DriverTransaction.of(connection).run(ADD, ROWS[0])
    assert stored(database) == []
    with database.writing() as connection:
        DriverTransaction.of(connection).run(ADD, ROWS[0])
        connection.commit()
    assert stored(database) == ROWS[:1]


def test_writers_wait_for_each_other(database: Database, database_url: str) -> None:
    with closing(Database.open(database_url, "answers", busy_ms=50)) as impatient:
        with database.appending(), refused(Reason.REGISTRY_UNAVAILABLE), impatient.appending():
            pytest.fail("two writers at once")
        with database.writing(), refused(Reason.REGISTRY_UNAVAILABLE), impatient.appending():
            pytest.fail("two writers at once")
        with impatient.appending() as transaction:
            transaction.run(ADD, ROWS[0])
            transaction.commit()
    assert stored(database) == ROWS[:1]


def test_a_parameter_at_another_place_is_a_mistake(database: Database) -> None:
    mistaken = Prepared(select(OPENINGS.c.day).where(OPENINGS.c.index == 7), "index")
    with pytest.raises(ValueError, match="not"), database.appending() as transaction:
        transaction.one(mistaken, (7,))
