"""Verdicts count as evidence against a session only while the version's bound holds."""

from types import SimpleNamespace

import numpy as np
import pytest

from gateway.sessions.session_screen import SessionWatch
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from sealgate.trust.policy.screening import ScreeningRules, SessionRules
from tests.support.fakes.pipeline import CONFIG, PASSES, PipelineHarness

RULES = SessionRules("label-only", "alert", seconds=60)
PROMISED = SimpleNamespace(
    adversarial=SimpleNamespace(bound=0.01), suspect=SimpleNamespace(bound=0.05)
)


@pytest.mark.parametrize(("bound_holds", "followed"), [(True, "label-only"), (False, None)])
def test_verdicts_are_evidence_while_the_bound_holds(
    bound_holds: bool, followed: str | None
) -> None:
    watch, draw = SessionWatch(key=b"k" * 32), np.random.default_rng(3)
    live = SimpleNamespace(
        model=CONFIG.name,
        config=CONFIG,
        digest="sha256:1",
        ready=SimpleNamespace(detector=SimpleNamespace(calibration=PROMISED)),
    )
    logits = {CONFIG.output.name: np.zeros((1, *CONFIG.output.row), np.float32)}
    answer = InferenceResult(logits, np.zeros((1, 3)), 9.0, Verdict.ADVERSARIAL, 1.0)
    for row in draw.random((40, 1, *CONFIG.input.row), np.float32):
        (prints,) = watch.prints(RULES, live, [row])
        found = watch.observe(RULES, "carla", live, [(prints, answer)], bound_holds)
    assert found.action == followed


@pytest.mark.parametrize(("withdrawal", "holds"), [("", True), ("2026-11-25T10:00:00Z", False)])
def test_sessions_know_whether_the_bound_holds(withdrawal: str, holds: bool) -> None:
    pipeline = PipelineHarness(ScreeningRules())
    pipeline.spy.withdrawal = withdrawal
    assert pipeline.ask(PASSES)[0] == "answered"
    assert pipeline.spy.bound_holds == [holds]
