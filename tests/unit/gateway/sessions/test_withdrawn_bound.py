"""Verdicts count as evidence against a session only while the version's bound holds, and by no more
than a calibration lets honest rows be flagged.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from gateway.sessions.session_screen import SessionWatch, request_payoff
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from publishing.calibration.detector_fit import calibrate
from sealgate.trust.policy.screening import ScreeningRules, SessionRules
from tests.support.fakes.pipeline import CONFIG, PASSES, PipelineHarness

RULES = SessionRules("label-only", "alert", seconds=60)
PROMISED = SimpleNamespace(adversarial=0.01, suspect=0.05, surely=lambda rate: rate)


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


def test_nobody_is_found_for_a_calibration_that_turned_out_badly() -> None:
    promised = calibrate(np.random.default_rng(0).normal(size=480), {})
    refused, suspect = (promised.surely(each) for each in (promised.adversarial, promised.suspect))
    assert refused > 1.5 * promised.adversarial.bound
    assert suspect > 1.2 * promised.suspect.bound
    live = SimpleNamespace(
        config=SimpleNamespace(scaling=None, input=SimpleNamespace(row=(30,))),
        ready=SimpleNamespace(detector=SimpleNamespace(calibration=promised)),
    )
    chances = {
        Verdict.CLEAN: 1 - suspect,
        Verdict.SUSPECT: suspect - refused,
        Verdict.ADVERSARIAL: refused,
    }
    answers = {each: InferenceResult({}, np.zeros((1, 3)), 0.0, each, 1.0) for each in chances}
    mean = sum(share * request_payoff(live, answers[each]) for each, share in chances.items())
    assert mean == pytest.approx(1)


@pytest.mark.parametrize(("withdrawal", "holds"), [("", True), ("2026-11-25T10:00:00Z", False)])
def test_sessions_know_whether_the_bound_holds(withdrawal: str, holds: bool) -> None:
    pipeline = PipelineHarness(ScreeningRules())
    pipeline.spy.withdrawal = withdrawal
    assert pipeline.ask(PASSES)[0] == "answered"
    assert pipeline.spy.bound_holds == [holds]
