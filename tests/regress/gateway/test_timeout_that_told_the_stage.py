"""A timeout between the times of screening's two stages told which of them a row needs, whatever
`hold_stage` said: where an engine of its own ran the version, the run was cut short for rows that
had gone on to the response graph, and for no others. Neither sessions nor drift saw those.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.response_delay import KEPT
from sealgate.reasons import Refusal
from sealgate.trust.screens import Screen
from tests.support.two_stage_desk import GOES_ON, GRAPH, PASSES, STAGED, Desk

BETWEEN = 120_000
"""Microseconds between the times of the stages."""


def test_a_time_below_the_clock_is_refused_at_the_door_whatever_the_row() -> None:
    desk = Desk(Screen(hold_stage=True))
    assert desk.ask(GOES_ON)[0] == "answered"
    found = [desk.ask(row, BETWEEN) for row in (PASSES, GOES_ON)]
    assert [reason for reason, _ in found] == ["DEADLINE_TOO_SHORT"] * 2
    assert desk.engine.asked == 1
    # They are held as any other refusal is.
    assert min(took for _, took in found) >= GRAPH


@pytest.mark.parametrize("screen", [Screen(hold_stage=True), Screen()])
def test_what_runs_is_not_cut_short_and_is_seen(screen: Screen) -> None:
    """Before the clock is known, and where there is none."""
    desk = Desk(screen)
    for row in (PASSES, GOES_ON):
        assert_answered(desk, row)
    assert desk.spy.rows == [0.25, 0.75]
    assert desk.spy.drift == 2


def assert_answered(desk: Desk, row: np.ndarray) -> None:
    """Though its time is short: in one of several tries, for a loaded machine may stand still for
    as long before the row is run.
    """
    assert any(desk.ask(row, BETWEEN)[0] == "answered" for _ in range(10))


def test_hold_ms_is_a_time_below_which_nothing_runs_too() -> None:
    desk = Desk(Screen(hold_stage=True, hold_ms=200))
    assert {desk.ask(row, BETWEEN)[0] for row in (PASSES, GOES_ON)} == {"DEADLINE_TOO_SHORT"}
    assert desk.engine.asked == 0


def test_a_version_of_one_stage_is_cut_as_ever() -> None:
    desk = Desk(Screen(hold_stage=True))
    resolve = desk.engine.resolve

    def one_stage(*asked: Any) -> Any:
        live = resolve()
        live.ready.detector = replace(STAGED, first=None)
        return live

    desk.engine.resolve = one_stage
    assert desk.ask(GOES_ON, BETWEEN)[0] == "DEADLINE_TOO_SHORT"
    assert desk.engine.asked == 1


def test_a_clock_that_nobodys_time_reaches_is_forgotten() -> None:
    """Or after one slow minute nobody with a shorter time would ever be answered again."""
    desk = Desk(Screen(hold_stage=True))
    assert desk.ask(GOES_ON)[0] == "answered"
    live, holding = desk.engine.resolve(), desk.predict._holding
    for _ in range(KEPT):
        with pytest.raises(Refusal):
            holding.admit(live, BETWEEN / 1e6)
    assert_answered(desk, PASSES)
