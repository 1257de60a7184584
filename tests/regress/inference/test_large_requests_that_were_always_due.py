"""A caller's share was forgotten as soon as nothing of theirs waited. So who sent one large
request, and the next one when that was taken, was due at once each time, and had half of an engine
or all of it, however many others waited.
"""

from collections import Counter
from dataclasses import dataclass

import pytest

from inference.waiting import WaitingLine

BATCH = 32


@dataclass(eq=False)
class Guest:
    caller: str
    rows: int = 1
    urgent: bool = False
    bucket: int = 0


def served(line: WaitingLine[Guest], batches: int) -> Counter[str]:
    """The rows of each caller in so many batches; who sends large requests has one at a time."""
    found: Counter[str] = Counter()
    for _ in range(batches):
        head = line.take()
        taken = [head, *line.take_along(head.bucket, BATCH - head.rows)]
        for guest in taken:
            found[guest.caller] += guest.rows
            line.append(Guest(guest.caller, guest.rows, bucket=guest.bucket))
    return found


@pytest.mark.parametrize("buckets", [1, 2])
def test_callers_have_equal_shares_of_rows(buckets: int) -> None:
    line: WaitingLine[Guest] = WaitingLine(10_000)
    for number in range(4):
        for place in range(100):
            line.append(Guest(f"small-{number}", bucket=place % buckets))
    line.append(Guest("large", BATCH))
    found = served(line, 400)
    assert found.total() <= 400 * BATCH
    assert max(found.values()) <= 1.2 * min(found.values())


def test_who_left_unserved_was_given_nothing() -> None:
    line: WaitingLine[Guest] = WaitingLine(10_000)
    for _ in range(10):
        line.append(Guest("patient"))
    gone = Guest("hasty", BATCH)
    line.append(gone)
    line.remove(gone)
    line.append(Guest("hasty"))
    assert [line.take().caller for _ in range(2)] == ["patient", "hasty"]


def test_nobody_is_remembered_when_nobody_waits() -> None:
    line: WaitingLine[Guest] = WaitingLine(10_000)
    for number in range(8):
        line.append(Guest(f"caller-{number}", bucket=number % 2))
    head = line.take()
    line.take_along(head.bucket, BATCH)
    line.take_along(1, BATCH)
    assert len(line) == 0
    assert line._ordinary._shares == {}
