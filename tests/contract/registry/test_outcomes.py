"""Which entries report the outcomes of others, on both databases."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from registry.answers.upkeep import prune_leaves
from registry.log.rows import OUTCOMES
from registry.storage import revisions
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from sealgate.trust.receipts.answer_entry import REPORTED
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS
from tests.support.harness.servers.postgres import other_schema


def entry(number: int, reports: int | None = None) -> LoggedAnswer:
    """An answer, or the report of one."""
    values = dict.fromkeys(answer_entry.FIELDS, "") | {"time": "2026-11-27T10:00:00.000000Z"}
    if reports is not None:
        values |= {"outcome": REPORTED, "input": str(reports)}
    fields = tuple(values.values())
    told = Opening(fields, number.to_bytes(16), "carla", SUBJECTS.key("carla"))
    return LoggedAnswer(answer_entry.leaf(fields, answer_entry.salts(told.key, told.nonce)), told)


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> str:
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/answers.db"
    return other_schema(database_url, database_url.rpartition("=")[2] + "_answers")


@pytest.fixture
def log(place: str) -> Iterator[AnswerLog]:
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    yield log
    log.close()


def test_reports_are_found_by_what_they_report_on(log: AnswerLog, place: str) -> None:
    log.append([entry(0), entry(1), entry(2, reports=1), entry(3, reports=0)])
    log.append([entry(4), entry(5, reports=4)])
    assert log.reports([]) == {}
    assert log.reports([0, 1, 2, 4, 7]) == {0: 3, 1: 2, 4: 5}
    log.close()
    again = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    assert again.reports(list(range(1200))) == {0: 3, 1: 2, 4: 5}
    again.close()


def test_nothing_of_a_group_with_a_second_report_is_recorded(log: AnswerLog) -> None:
    log.append([entry(0), entry(1, reports=0)])
    with refused(Reason.RECORD_FAILED):
        log.append([entry(2), entry(3, reports=0)])
    assert log.size == 2
    log.append([entry(4)])
    assert log.reports([0]) == {0: 1}


def test_a_deleted_row_lets_no_second_report_in(log: AnswerLog, place: str) -> None:
    log.append([entry(0), entry(1, reports=0)])
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        assert connection.execute(delete(OUTCOMES)).rowcount == 1
        connection.commit()
    assert log.reports([0]) == {0: 1}
    with refused(Reason.RECORD_FAILED):
        log.append([entry(2), entry(3, reports=0)])
    assert log.size == 2


def test_the_earliest_entry_that_reports_an_answer_is_the_first(log: AnswerLog) -> None:
    log.append([entry(0), entry(1), entry(2, reports=1)])
    assert log.is_first_report(1, 2)
    assert not log.is_first_report(1, 5)
    assert log.is_first_report(0, 3)
    assert log.reports([0, 1]) == {0: 3, 1: 2}


def test_some_are_opened_together(log: AnswerLog) -> None:
    log.append([entry(0), entry(1, reports=0)])
    assert log.openings.some([0, 1, 2]) == {0: log.opening(0), 1: log.opening(1)}
    assert log.openings.some([]) == {}


def test_pruning_forgets_reports_of_what_is_pruned(log: AnswerLog, place: str) -> None:
    log.append([entry(number) for number in range(256)])
    log.append([entry(256, reports=3), entry(257), entry(258, reports=257)])
    database = Database.open(place, "answers")
    prune_leaves(database, 256)
    database.close()
    log.close()
    again = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    assert again.reports([3, 257]) == {257: 258}
    again.close()


def test_a_log_goes_back_to_the_earlier_release_while_there_are_none(
    log: AnswerLog, place: str
) -> None:
    log.append([entry(0)])
    database = Database.open(place, "answers")
    for step, revision in ((revisions.downgrade, "0002"), (revisions.upgrade, "head")):
        with database.writing() as connection:
            step(connection, "answers", revision)
            connection.commit()
    log.append([entry(1, reports=0)])
    with (
        pytest.raises(revisions.RowsInTheWay, match="log_outcomes has rows"),
        database.writing() as connection,
    ):
        revisions.downgrade(connection, "answers", "0002")
    database.close()
