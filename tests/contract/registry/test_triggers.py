"""A trigger that undoes what is recorded, in the same transaction, is noticed at once."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from gateway.recording.recorder import AuditRecorder
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from registry.answers.subject_keys import SubjectKeys
from registry.answers.upkeep import prune_leaves
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED, leaf, salts
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import other_schema

DELETE = 'DELETE FROM {table} WHERE "index" = new."index"'
EMPTY = 'UPDATE {table} SET {column} = \'\' WHERE "index" = new."index"'


@pytest.fixture
def place(database_url: str) -> str:
    if database_url.startswith("sqlite"):
        return database_url.replace("registry.db", "answers.db")
    return other_schema(database_url, make_url(database_url).query["schema"] + "_answers")


@pytest.fixture
def log(place: str) -> Iterator[AnswerLog]:
    with closing(AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)) as log:
        log.append([an_answer()])
        yield log


def a_report(entry: int) -> LoggedAnswer:
    """A report of the outcome of an entry."""
    values = dict.fromkeys(FIELDS, "") | {
        "time": "2026-11-27T10:00:00.000000Z",
        "outcome": REPORTED,
        "input": str(entry),
    }
    told = Opening(tuple(values.values()), entry.to_bytes(16), "carla", SUBJECTS.key("carla"))
    return LoggedAnswer(leaf(told.fields, salts(told.key, told.nonce)), told)


def keep_rows(connection: Connection, table: str) -> None:
    """A trigger by which nothing is deleted from a table, without an error."""
    if connection.dialect.name == "sqlite":
        then = "SELECT RAISE(IGNORE)"
        connection.exec_driver_sql(
            f"CREATE TRIGGER undo BEFORE DELETE ON {table} BEGIN {then}; END"
        )
        return
    body = "$$ BEGIN RETURN NULL; END $$"
    connection.exec_driver_sql(f"CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS {body}")
    connection.exec_driver_sql(
        f"CREATE TRIGGER undo BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION undo()"
    )


def add_trigger(connection: Connection, on: str, then: str, *, deferred: bool = False) -> None:
    """A trigger that does something after each row that is inserted."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER undo AFTER INSERT ON {on} FOR EACH ROW BEGIN {then}; END"
        )
        return
    connection.exec_driver_sql(
        "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {then}; RETURN NULL; END $$"
    )
    kind, when = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if deferred else ("", "")
    connection.exec_driver_sql(
        f"CREATE {kind} TRIGGER undo AFTER INSERT ON {on} {when} "
        "FOR EACH ROW EXECUTE FUNCTION undo()"
    )


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    ("on", "then"),
    [
        ("log_sealed_openings", DELETE.format(table="log_sealed_openings")),
        ("log_sealed_openings", DELETE.format(table="log_leaves")),
        ("log_leaves", DELETE.format(table="log_leaves")),
        ("log_sealed_openings", EMPTY.format(table="log_sealed_openings", column="sealed")),
        ("log_sealed_openings", EMPTY.format(table="log_leaves", column="data")),
    ],
)
def test_an_answer_that_a_trigger_undoes_is_not_recorded(
    log: AnswerLog, place: str, on: str, then: str, deferred: bool
) -> None:
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        add_trigger(connection, on, then, deferred=deferred)
        connection.commit()
    for group in (1, 40):
        with refused(Reason.LOG_INCONSISTENT):
            log.append([an_answer()] * group)
    assert log.size == 1
    assert log.reader.verify().size == 1
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        table = "" if connection.dialect.name == "sqlite" else f" ON {on}"
        connection.exec_driver_sql(f"DROP TRIGGER undo{table}")
        connection.commit()
    # Without the trigger it goes on.
    log.append([an_answer()])
    assert log.reader.verify().size == 2


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    "then",
    [
        "DELETE FROM log_outcomes WHERE entry = new.entry",
        "UPDATE log_outcomes SET report = 0 WHERE entry = new.entry",
        "UPDATE log_outcomes SET entry = entry + 1000 WHERE entry = new.entry",
    ],
)
def test_a_report_whose_row_a_trigger_changes_is_not_recorded(
    log: AnswerLog, place: str, then: str, deferred: bool
) -> None:
    log.append([an_answer()] * 40)
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        add_trigger(connection, "log_outcomes", then, deferred=deferred)
        connection.commit()
    for count in (1, 40):
        with refused(Reason.LOG_INCONSISTENT):
            log.append([a_report(entry) for entry in range(1, 1 + count)])
    assert log.size == 41
    assert log.reports(range(41)) == {}
    log.append([an_answer()])


def test_a_change_that_a_trigger_undoes_is_refused(harness: RegistryHarness) -> None:
    with harness.database.writing() as connection:
        then = EMPTY.format(table="log_leaves", column="data")
        add_trigger(connection, "log_leaves", then)
        connection.commit()
    size = harness.registry.log.size()
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.models.create("paula", "letters")
    assert harness.registry.log.size() == size


@pytest.mark.no_tables
def test_a_key_that_a_trigger_keeps_is_not_called_destroyed(database_url: str) -> None:
    with closing(SubjectKeys.open(database_url)) as keys:
        secret = keys.key("patient-4711")
        database = Database.open(database_url, "subjects")
        with closing(database), database.writing() as connection:
            keep_rows(connection, "subject_keys")
            connection.commit()
        with refused(Reason.LOG_INCONSISTENT):
            keys.destroy("patient-4711")
        assert keys.known_key("patient-4711") == secret


@pytest.mark.no_tables
def test_a_key_that_a_trigger_chooses_is_not_used(database_url: str) -> None:
    with closing(SubjectKeys.open(database_url)) as keys:
        database = Database.open(database_url, "subjects")
        with closing(database), database.writing() as connection:
            then = "UPDATE subject_keys SET key = '' WHERE subject = new.subject"
            add_trigger(connection, "subject_keys", then)
            connection.commit()
        with refused(Reason.LOG_INCONSISTENT):
            keys.key("patient-4711")


@pytest.mark.parametrize("table", ["log_leaves", "log_sealed_openings"])
def test_entries_that_a_trigger_keeps_are_not_called_pruned(
    log: AnswerLog, place: str, table: str
) -> None:
    log.append([an_answer()] * 255)
    log.append([an_answer()])
    with closing(Database.open(place, "answers")) as database:
        with database.writing() as connection:
            keep_rows(connection, table)
            connection.commit()
        with refused(Reason.LOG_INCONSISTENT):
            prune_leaves(database, 256)
    assert log.reader.first() == 0


def test_openings_that_a_trigger_keeps_are_not_called_erased(
    log: AnswerLog, place: str, tmp_path: Path
) -> None:
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        keep_rows(connection, "log_sealed_openings")
        connection.commit()
    with (
        closing(SubjectKeys.open(tmp_path / "subjects.db")) as keys,
        refused(Reason.LOG_INCONSISTENT),
    ):
        AuditRecorder(log, keys).erase(an_answer().opening.subject, lambda erasure: None)
