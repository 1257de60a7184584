"""A timeout can't reveal which screening stage a row needed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.enforcement import KEPT
from sealgate.reasons import Refusal
from sealgate.trust.policy.screening import ScreeningRules
from tests.support.two_stage_desk import GOES_ON, GRAPH, PASSES, STAGED, Desk

BETWEEN = 120_000
"""Microseconds between the times of the stages."""


def test_a_timeout_below_the_response_delay_is_refused_for_every_row() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    assert desk.ask(GOES_ON)[0] == "answered"
    found = [desk.ask(row, BETWEEN) for row in (PASSES, GOES_ON)]
    assert [reason for reason, _ in found] == ["DEADLINE_TOO_SHORT"] * 2
    assert desk.engine.asked == 1
    # They are held as any other refusal is.
    assert min(took for _, took in found) >= GRAPH


@pytest.mark.parametrize("screen", [ScreeningRules(hold_stage=True), ScreeningRules()])
def test_a_run_is_not_cut_short_and_is_recorded(screen: ScreeningRules) -> None:
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


def test_a_timeout_below_hold_ms_is_refused() -> None:
    desk = Desk(ScreeningRules(hold_stage=True, hold_ms=200))
    assert {desk.ask(row, BETWEEN)[0] for row in (PASSES, GOES_ON)} == {"DEADLINE_TOO_SHORT"}
    assert desk.engine.asked == 0


def test_a_single_stage_version_keeps_the_callers_timeout() -> None:
    desk = Desk(ScreeningRules(hold_stage=True))
    resolve = desk.engine.resolve

    def one_stage(*asked: Any) -> Any:
        live = resolve()
        live.ready.detector = replace(STAGED, first=None)
        return live

    desk.engine.resolve = one_stage
    assert desk.ask(GOES_ON, BETWEEN)[0] == "DEADLINE_TOO_SHORT"
    assert desk.engine.asked == 1


def test_a_delay_that_no_timeout_reaches_is_forgotten() -> None:
    """Or after one slow minute nobody with a shorter time would ever be answered again."""
    desk = Desk(ScreeningRules(hold_stage=True))
    assert desk.ask(GOES_ON)[0] == "answered"
    live, holding = desk.engine.resolve(), desk.enforcement.delay
    for _ in range(KEPT):
        with pytest.raises(Refusal):
            holding.admit(live, BETWEEN / 1e6)
    assert_answered(desk, PASSES)
