"""Entries that cannot be opened are compared with what erasures closed."""

import pytest

from sealgate.audit.answer_logs import AnswerLogHistory, ClosedEntries, ErasureCounts, check_closed
from sealgate.reasons import Reason
from sealgate.trust import canonical
from tests.support.builders.documents.people import ANSWER_LOG, refused


def entry(event: str, **body: object) -> bytes:
    told = {"type": "sealgate/entry/v1", "event": event, "time": "2026-11-25T10:00:00Z"}
    subject = f"logs/{ANSWER_LOG}"
    return canonical.encode({**told, "principal": "otto", "subject": subject, "body": body})


def erased(*leaves: bytes) -> ErasureCounts:
    told = AnswerLogHistory()
    for index, leaf in enumerate(leaves):
        told.visit(index, leaf)
    return told.erased.get(ANSWER_LOG, ErasureCounts())


def unused() -> ErasureCounts:
    pytest.fail("the log need not be read again")


def test_the_log_tells_how_many_entries_erasures_closed() -> None:
    first = entry("subject.erased", pseudonym="a", entries=3, size=10, key_digest="d")
    second = entry("subject.erased", pseudonym="b", entries=0, size=20)
    pruned = [entry("log.pruned", size=size, closed=n) for size, n in ((256, 1), (512, 2))]
    assert erased(first, second) == ErasureCounts(entries=3)
    told = erased(first, pruned[0], second, pruned[1])
    assert (told.entries, told.pruned, told.kept) == (3, 2, 1)
    # Entries of an earlier release.
    assert erased(
        entry("subject.erased", pseudonym="a"), entry("log.pruned", size=256)
    ) == ErasureCounts(uncounted=1)


def test_as_many_as_erasures_closed() -> None:
    assert check_closed(ANSWER_LOG, 2, ErasureCounts(3, 1), unused) == ClosedEntries(
        2, explained=True
    )
    assert check_closed(ANSWER_LOG, 0, ErasureCounts(), unused) == ClosedEntries(0, explained=True)


def test_an_erasure_in_between() -> None:
    found = check_closed(ANSWER_LOG, 5, ErasureCounts(3), lambda: ErasureCounts(5))
    assert found == ClosedEntries(5, explained=True)


@pytest.mark.parametrize(
    ("closed", "reason"), [(4, Reason.OPENING_MISSING), (2, Reason.ERASURE_UNFINISHED)]
)
def test_more_or_fewer_than_erasures_closed(closed: int, reason: Reason) -> None:
    with refused(reason):
        check_closed(ANSWER_LOG, closed, ErasureCounts(3), lambda: ErasureCounts(3))


def test_erasures_that_did_not_count_explain_anything() -> None:
    found = check_closed(ANSWER_LOG, 7, ErasureCounts(3, 0, 1), unused)
    assert found == ClosedEntries(7, explained=False)
