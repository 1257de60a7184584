"""A defect after the answers fails none of them."""

from typing import Any

import pytest

from sealgate.trust.policy.screening import ScreeningRules
from tests.support.fakes.pipeline import PASSES, PipelineHarness


def test_a_defect_after_the_answers_is_logged_and_recorded_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = PipelineHarness(ScreeningRules())

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(pipeline.spy, "observe_all", broken)
    assert pipeline.ask(PASSES)[0] == "answered"
    assert [record.outcome for record in pipeline.recorded] == ["answered"]
    assert "after a burst was answered" in caplog.text
