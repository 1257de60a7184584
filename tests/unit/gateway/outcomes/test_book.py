"""Reported outcomes, read from the log again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.outcomes import ColumnWatch, OutcomeBook
from gateway.outcomes.judged import JudgedAnswer
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.health_limits import ModelOutcomes, OutcomeRules
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED, leaf, salts
from sealgate.trust.times import format_micros
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS


def reported(entry: int, *, right: bool, days_ago: float = 0) -> tuple[str, ...]:
    """The fields of a report about an answer's entry."""
    values = dict.fromkeys(FIELDS, "") | {
        "model": "digits",
        "alias": "production",
        "version": "1",
        "pointer_sequence": "1",
        "input": str(entry),
        "outcome": REPORTED,
        "time": format_micros(datetime.now(UTC) - timedelta(days=days_ago)),
        "output": JudgedAnswer(["a"], ["a" if right else "b"], [right]).encode(),
    }
    return tuple(values.values())


class FailingLog:
    """A log of one report, whose database fails once after it was read."""

    size = 1

    def __init__(self) -> None:
        self.openings = self
        self._fails = True

    def find(self, *_: object) -> Iterator[Any]:
        yield SimpleNamespace(openings=[(0, SimpleNamespace(fields=reported(7, right=True)))])
        if self._fails:
            self._fails = False
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE)

    def is_first_report(self, entry: int, report: int) -> bool:
        return (entry, report) == (7, 0)


def test_what_was_read_before_a_failure_is_not_counted_twice() -> None:
    log: Any = FailingLog()
    policy: Any = SimpleNamespace(outcomes=OutcomeRules({"digits": ModelOutcomes()}))
    book = OutcomeBook(log, dict, lambda: policy, lambda *_: None, ColumnWatch(lambda: policy))
    with refused(Reason.REGISTRY_UNAVAILABLE):
        book.shown("digits")
    (shown,) = book.shown("digits")
    assert len(shown.window) == 1


def test_metrics_are_told_while_the_log_cannot_be_read() -> None:
    log: Any = FailingLog()
    policy: Any = SimpleNamespace(outcomes=OutcomeRules({"digits": ModelOutcomes()}))
    live = SimpleNamespace(
        model="digits", alias="production", version=1, digest="", sequence=1, pointer="sha256:1"
    )
    lives: Any = {("digits", "production"): live}
    watch = ColumnWatch(lambda: policy)
    book = OutcomeBook(log, lambda: lives, lambda: policy, lambda *_: None, watch)
    assert book.current() == []
    assert [len(each.window) for each in book.current()] == [1]


def append(log: AnswerLog, fields: tuple[str, ...]) -> None:
    nonce, secret = bytes(16), SUBJECTS.key("carla")
    told = Opening(fields, nonce, "carla", secret)
    log.append([LoggedAnswer(leaf(fields, salts(secret, nonce)), told)])


@contextmanager
def log_with_a_deleted_row(place: Path, days_ago: float) -> Iterator[AnswerLog]:
    """A log that starts again, whose one report, of entry 0, has lost its row."""
    path = place / "answers.db"
    with closing(AnswerLog.open(path, ANSWER_LOG, key("answer-log"), SUBJECTS)) as log:
        append(log, ("",) * len(FIELDS))
        append(log, reported(0, right=True, days_ago=days_ago))
    with closing(sqlite3.connect(path)) as rows, rows:
        assert rows.execute("DELETE FROM log_outcomes").rowcount == 1
    with closing(AnswerLog.open(path, ANSWER_LOG, key("answer-log"), SUBJECTS)) as log:
        yield log


def book_of(log: AnswerLog) -> OutcomeBook:
    policy: Any = SimpleNamespace(outcomes=OutcomeRules({"digits": ModelOutcomes()}))
    return OutcomeBook(log, dict, lambda: policy, lambda *_: None, ColumnWatch(lambda: policy))


@pytest.mark.parametrize("days_ago", [0, 200])
def test_a_deleted_row_lets_no_second_report_in_after_a_start(
    tmp_path: Path, days_ago: float
) -> None:
    with log_with_a_deleted_row(tmp_path, days_ago) as log:
        book = book_of(log)
        assert book.reports([0, 1]) == {0: 1}
        with refused(Reason.RECORD_FAILED):
            append(log, reported(0, right=False))
        book.forget()
        assert book.reports([0, 1]) == {0: 1}


def test_of_two_reports_of_one_answer_the_first_alone_counts(tmp_path: Path) -> None:
    with log_with_a_deleted_row(tmp_path, days_ago=0) as log:
        # Nothing has read the entries, so the log takes it.
        append(log, reported(0, right=False))
        book = book_of(log)
        for _ in range(2):
            (shown,) = book.shown("digits")
            assert [bool(row["right"]) for row in shown.window.rows] == [True]
            book.forget()
        assert book.reports([0]) == {0: 1}
