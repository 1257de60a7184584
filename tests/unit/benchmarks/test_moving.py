"""How soon a move reached those who asked, from what they were answered."""

import pytest

from tests.support.harness.alias_callers import Asked, reach


def asked(sent: float, received: float, version: int) -> Asked:
    return Asked(0, "", sent, received, version)


def is_new(item: Asked) -> bool:
    return item.version == 2


def test_reach() -> None:
    answers = [
        asked(0.90, 0.95, 1),
        asked(1.00, 1.15, 1),
        asked(1.12, 1.20, 1),
        asked(1.11, 1.13, 2),
        asked(1.30, 1.40, 2),
    ]
    found = reach(answers, began=1.0, moved=1.1, is_new=is_new)
    assert found.first_new == pytest.approx(30)
    assert found.last_old == pytest.approx(20)


def test_a_move_that_never_came() -> None:
    with pytest.raises(ValueError, match="min"):
        reach([asked(1.0, 1.1, 1)], began=1.0, moved=1.1, is_new=is_new)


def test_a_move_before_its_answer() -> None:
    found = reach([asked(1.01, 1.05, 2)], began=1.0, moved=1.1, is_new=is_new)
    assert found.first_new == pytest.approx(-50)
    assert found.last_old == pytest.approx(-100)
