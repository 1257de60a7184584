"""Bets: an honest stream seldom wins, and a dishonest one soon does."""

import numpy as np
import pytest

from gateway.sessions.query_attack_detection import Alarm, verdict_payoff


def payoffs(draw: np.random.Generator, rate: float, number: int) -> list[float]:
    return (1000.0 * (draw.random(number) < rate)).tolist()


def test_an_honest_session_passes_the_level_no_more_often_than_stated() -> None:
    draw = np.random.default_rng(1)
    level, length, sessions = 2e4, 100, 3000
    passed = 0
    for _ in range(sessions):
        alarm = Alarm(level)
        passed += any(map(alarm.add, payoffs(draw, 0.001, length)))
    assert passed / sessions <= length / level


@pytest.mark.parametrize(("every", "within"), [(1, 3), (10, 120), (100, 2000)])
def test_what_comes_in_a_burst_and_what_comes_now_and_then_both_show(
    every: int, within: int
) -> None:
    alarm = Alarm(2e4)
    assert any(alarm.add(1000.0 * (number % every == 0)) for number in range(1, within + 1))


def test_an_alarm_begins_anew() -> None:
    alarm = Alarm(2e4)
    assert [alarm.add(1000.0) for _ in range(4)] == [False, True, False, True]


def test_a_verdicts_payoff_is_one_on_average_at_most() -> None:
    adversarial, suspect = 0.01, 0.05
    chances = {"clean": 1 - suspect, "suspect": suspect - adversarial, "adversarial": adversarial}
    mean = sum(
        chance * verdict_payoff(verdict, adversarial, suspect)
        for verdict, chance in chances.items()
    )
    assert mean == pytest.approx(1)
