"""What was reported of promotions, read from the log again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from gateway.outcomes import ColumnWatch, OutcomeBook
from gateway.outcomes.judged import JudgedAnswer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.outcome_rules import ModelOutcomes, OutcomeRules
from sealgate.trust.receipts.answer_entry import FIELDS, REPORTED
from sealgate.trust.times import format_micros
from tests.support.builders.documents.people import refused


class FailingLog:
    """A log of one report, whose database fails once after it was read."""

    size = 1

    def __init__(self) -> None:
        self.openings = self
        self._fails = True

    def find(self, *_: object) -> Iterator[Any]:
        values = dict.fromkeys(FIELDS, "") | {
            "model": "digits",
            "alias": "production",
            "version": "1",
            "pointer_sequence": "1",
            "outcome": REPORTED,
            "time": format_micros(datetime.now(UTC)),
            "output": JudgedAnswer(["a"], ["a"], [True]).encode(),
        }
        yield SimpleNamespace(openings=[(0, SimpleNamespace(fields=tuple(values.values())))])
        if self._fails:
            self._fails = False
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE)


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
