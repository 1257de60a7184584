"""The state machine of promotion: the protocol holds against it, and it finds bugs that are seeded.

A few runs, always the same; `python -m tests.support.oracles.promotion.campaign` makes many.
"""

import pytest

from tests.support.oracles.promotion.bench import bench
from tests.support.oracles.promotion.coverage import OFTEN, missing
from tests.support.oracles.promotion.machine import run
from tests.support.oracles.promotion.observed import Violation
from tests.support.oracles.promotion.remembering import remembering
from tests.support.oracles.promotion.seeded_bugs import BUGS, QUICKLY_FOUND, seeded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_MOST_SEEDS = 8
_BATCH = 120


def test_production_answers_only_what_people_approved_and_never_goes_back() -> None:
    events = bench().events
    events.clear()
    run(1, 200)
    for name, number in sorted(events.items()):
        print(f"{number:8d} {name}")
    assert missing(events, OFTEN) == []


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_seeded(name: str) -> None:
    with seeded(BUGS[name]):
        pass


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICKLY_FOUND else pytest.mark.long) for name in BUGS],
)
def test_a_seeded_bug_is_found(name: str) -> None:
    with remembering(), seeded(BUGS[name]):
        assert any(is_violated(number) for number in range(_MOST_SEEDS))


def is_violated(number: int) -> bool:
    try:
        run(number, _BATCH)
    except Violation:
        return True
    return False
