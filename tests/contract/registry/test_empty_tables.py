"""Schemas that tests use one after another: no test finds what an earlier one left."""

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, make_url

from registry.storage.database import Database
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import PostgresServer, other_schema
from tests.support.harness.servers.schemas import EmptyTables


@pytest.fixture
def tables(request: pytest.FixtureRequest) -> Iterator[EmptyTables]:
    url = os.environ.get("SEALGATE_TEST_DATABASE")
    if url is None:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url
    tables = EmptyTables(url, ending=5.0)
    yield tables
    tables.drop()


def rows(connection: Connection) -> int:
    query = "SELECT count(*) FROM models, log_leaves"
    return int(connection.exec_driver_sql(query).scalar() or 0)


def test_the_next_test_finds_no_rows(tables: EmptyTables, tmp_path) -> None:
    url = tables.take()
    harness = RegistryHarness(tmp_path, url).found()
    with harness.database.reading() as connection:
        assert rows(connection)
    harness.registry.close()
    tables.give_back()
    assert tables.take() == url
    database = Database.open(url, "registry")
    with database.reading() as connection:
        assert not rows(connection)
    database.close()
    # A registry begins in it as in any other.
    RegistryHarness(tmp_path / "next", url).found().registry.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE models ADD COLUMN more text",
        "DROP TRIGGER tell_of_change ON log_checkpoints",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE more (id int)",
        "GRANT SELECT ON models TO PUBLIC",
        "ALTER TABLE models DISABLE TRIGGER ALL",
        "CREATE SCHEMA {schema}_more",
    ],
)
def test_what_is_not_rows_goes_with_its_schemas(tables: EmptyTables, change: str) -> None:
    url = tables.take()
    schema = make_url(url).query["schema"]
    database = Database.open(url, "registry")
    with database.writing() as connection:
        connection.exec_driver_sql(change.format(schema=schema))
        connection.commit()
    database.close()
    tables.give_back()
    assert tables.take() != url


def test_the_answer_logs_tables_are_looked_at_too(tables: EmptyTables) -> None:
    url = tables.take()
    database = Database.open(
        other_schema(url, f"{make_url(url).query['schema']}_answers"), "answers"
    )
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE log_leaves ADD COLUMN more text")
        connection.commit()
    database.close()
    tables.give_back()
    assert tables.take() != url


def test_whoever_stays_connected_writes_in_no_later_test(tables: EmptyTables) -> None:
    url = tables.take()
    database = Database.open(url, "registry")
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
        tables.give_back()
        assert tables.take() != url
    database.close()
