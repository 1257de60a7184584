"""A timeout can't reveal which screening stage a row needed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.enforcement import KEPT
from sealgate.reasons import SealgateError
from sealgate.trust.policy.screening import ScreeningRules
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.fakes.pipeline import GOES_ON, GRAPH, PASSES, STAGED, PipelineHarness

BETWEEN = 120_000
"""Microseconds between the times of the stages."""


def test_a_timeout_below_the_response_delay_is_refused_for_every_row() -> None:
    pipeline = PipelineHarness(ScreeningRules(hold_stage=True))
    assert pipeline.ask(GOES_ON)[0] == "answered"
    found = [pipeline.ask(row, BETWEEN) for row in (PASSES, GOES_ON)]
    assert [reason for reason, _ in found] == ["DEADLINE_TOO_SHORT"] * 2
    assert pipeline.engine.asked == 1
    # They are held as any other refusal is.
    assert min(took for _, took in found) >= GRAPH


@pytest.mark.parametrize("screen", [ScreeningRules(hold_stage=True), ScreeningRules()])
def test_a_run_is_not_cut_short_and_is_recorded(screen: ScreeningRules) -> None:
    """Before the clock is known, and where there is none."""
    pipeline = PipelineHarness(screen)
    for row in (PASSES, GOES_ON):
        assert_answered(pipeline, row)
    assert pipeline.spy.rows == [0.25, 0.75]
    assert pipeline.spy.drift == 2


def assert_answered(pipeline: PipelineHarness, row: np.ndarray) -> None:
    """Though its time is short: in one of several tries, for a loaded machine may stand still for
    as long before the row is run.
    """
    assert any(pipeline.ask(row, BETWEEN)[0] == "answered" for _ in range(10))


def test_a_timeout_below_hold_ms_is_refused() -> None:
    pipeline = PipelineHarness(ScreeningRules(hold_stage=True, hold_ms=200))
    assert {pipeline.ask(row, BETWEEN)[0] for row in (PASSES, GOES_ON)} == {"DEADLINE_TOO_SHORT"}
    assert pipeline.engine.asked == 0


def of_one_stage(screen: ScreeningRules, **more: Any) -> PipelineHarness:
    pipeline = PipelineHarness(screen)
    resolve = pipeline.engine.resolve

    def one_stage(*asked: Any) -> Any:
        live = resolve()
        live.ready.detector = replace(STAGED, first=None, **more)
        return live

    pipeline.engine.resolve = one_stage  # type: ignore[method-assign]
    return pipeline


def test_a_single_stage_version_keeps_the_callers_timeout() -> None:
    pipeline = of_one_stage(ScreeningRules(hold_stage=True))
    assert pipeline.ask(GOES_ON, BETWEEN)[0] == "DEADLINE_TOO_SHORT"
    assert pipeline.engine.asked == 1


def test_a_run_that_asks_float32_is_not_cut_short_and_is_recorded() -> None:
    """Or a timeout would tell whose margin is small, and sessions would not see the search."""
    pipeline = of_one_stage(ScreeningRules(), disagreement=FLOAT32, least_margin=1.0)
    for row in (PASSES, GOES_ON):
        assert_answered(pipeline, row)
    assert pipeline.spy.rows == [0.25, 0.75]
    assert pipeline.spy.drift == 2


def test_a_delay_that_no_timeout_reaches_is_forgotten() -> None:
    """Or after one slow minute nobody with a shorter time would ever be answered again."""
    pipeline = PipelineHarness(ScreeningRules(hold_stage=True))
    assert pipeline.ask(GOES_ON)[0] == "answered"
    live, holding = pipeline.engine.resolve(), pipeline.enforcement.delay
    for _ in range(KEPT):
        with pytest.raises(SealgateError):
            holding.admit(live, BETWEEN / 1e6)
    assert_answered(pipeline, PASSES)
