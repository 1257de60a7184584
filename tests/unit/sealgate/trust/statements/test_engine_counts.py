"""Counts that an engine signs: one form, and nothing in them ever shrinks."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements.covering import EngineCounts
from tests.support.builders.documents.people import at, refused

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
COUNTS = EngineCounts("engine", "0f" * 16, 3, at(hours=-1), at(), ((ONE, 2, 7), (TWO, 1, 1)))


def test_what_is_written_is_read_again() -> None:
    assert EngineCounts.decode(COUNTS.encode()) == COUNTS
    empty = replace(COUNTS, counts=())
    assert EngineCounts.decode(empty.encode()) == empty


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "Engine 1"},
        {"instance": "0f" * 15},
        {"instance": "0F" * 16},
        {"sequence": 0},
        {"since": "yesterday"},
        {"counts": ((ONE, 0, 0),)},
        {"counts": ((ONE, 1, -1),)},
        {"counts": ((TWO, 1, 1), (ONE, 1, 1))},
        {"counts": ((ONE, 1, 1), (ONE, 1, 1))},
        {"counts": (("digits", 1, 1),)},
    ],
)
def test_what_is_no_such_statement(change: dict[str, object]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(COUNTS, **change)


@pytest.mark.parametrize(
    ("change", "follows"),
    [
        ({}, True),
        ({"counts": ((ONE, 3, 9), (TWO, 1, 1))}, True),
        ({"sequence": 3}, False),
        ({"counts": ((ONE, 1, 7), (TWO, 1, 1))}, False),
        ({"counts": ((ONE, 2, 6), (TWO, 1, 1))}, False),
        ({"counts": ((ONE, 2, 7),)}, False),
    ],
)
def test_what_may_come_after_it(change: dict[str, object], follows: bool) -> None:
    later = replace(COUNTS, **({"sequence": 4} | change))
    assert later.follows(COUNTS) is follows
