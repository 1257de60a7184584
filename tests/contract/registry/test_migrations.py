"""Revisions lead to the tables that the code knows, and back, with data in them."""

from itertools import permutations
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, select

from registry.answers import subject_keys
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.log.rows import ANSWERS_METADATA
from registry.state import schema
from registry.storage import revisions
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness

pytestmark = pytest.mark.no_tables

FAMILIES = {
    "registry": schema.METADATA,
    "answers": ANSWERS_METADATA,
    "subjects": subject_keys.METADATA,
}

Rows = dict[str, list[tuple[Any, ...]]]


def contents(database: Database) -> Rows:
    """The rows of every table that there is."""
    with database.reading() as connection:
        found = MetaData()
        found.reflect(connection)
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))))
            for table in found.sorted_tables
            if table.name != "alembic_version"
        }


def go(database: Database, family: str, to: str, *, down: bool) -> None:
    with database.writing() as connection:
        (revisions.downgrade if down else revisions.upgrade)(connection, family, to)
        connection.commit()


@pytest.mark.parametrize("family", FAMILIES)
def test_revisions_lead_to_the_tables(database_url: str, family: str) -> None:
    database = Database.open(database_url, family)
    with database.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), FAMILIES[family])
    assert found == []
    database.close()


def test_a_record_survives_the_way_to_the_first_revision_and_back(harness: RegistryHarness) -> None:
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    harness.roll_back(first, 3)
    before = contents(harness.database)
    for step in ("-1", "0001"):
        go(harness.database, "registry", step, down=True)
        there = contents(harness.database)
        assert there == {name: before[name] for name in there}
    go(harness.database, "registry", "head", down=False)
    # Columns that a later revision adds come back empty, as they were here.
    assert contents(harness.database) == before
    harness.reopen().models.create("paula", "letters")
    harness.registry.verify()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_way_to_base_loses_the_tables_and_leaves_nothing(
    database_url: str, family: str
) -> None:
    database = Database.open(database_url, family)
    full = contents(database).keys()
    fill(database_url, database, family)
    go(database, family, "base", down=True)
    assert contents(database) == {}
    go(database, family, "head", down=False)
    assert contents(database).keys() == full
    assert not any(contents(database).values())
    # It can be begun anew.
    fill(database_url, database, family)
    database.close()


def fill(url: str, database: Database, family: str) -> None:
    if family == "answers":
        log = AnswerLog.open(url, ANSWER_LOG, key("answer-log"), SUBJECTS)
        log.append([an_answer()] * 200)
        # Encrypted openings are not given up.
        log.openings.erase("subject", log.size)
        log.close()
    elif family == "subjects":
        keys = SubjectKeys.open(url)
        keys.key("somebody")
        keys.close()
    else:
        with database.writing() as connection:
            row = {"slot": 1, "sequence": 1, "envelope": b"{}"}
            connection.execute(insert(schema.FRESHNESS), row)
            connection.commit()


def test_a_database_of_a_later_release_is_refused(database_url: str) -> None:
    database = Database.open(database_url, "registry")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with refused(Reason.REGISTRY_UNAVAILABLE):
        Database.open(database_url, "registry")
    database.close()


@pytest.mark.parametrize(("own", "other"), [*permutations(FAMILIES, 2)])
def test_a_database_of_another_family_stays_as_it_is(
    database_url: str, own: str, other: str
) -> None:
    """As where the configuration names one database in another's place."""
    Database.open(database_url, own).close()
    with refused(Reason.REGISTRY_UNAVAILABLE) as caught:
        Database.open(database_url, other)
    assert f"the database of {own}, not of {other}" in str(caught.value)
    Database.open(database_url, own).close()
