"""What verdicts lead to is looked up once under a policy, and anew under the next."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gateway.pipeline.enforcement import Enforcement
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, VerdictActions
from tests.support.builders.documents.people import make_policy


def answer(verdict: Verdict, float32_rows: int = 0) -> InferenceResult:
    features = np.zeros((1, 3))
    return InferenceResult({}, features, 0.0, verdict, 1.0, float32_rows=float32_rows)


def test_another_policy_decides_anew() -> None:
    def policy(adversarial: str, disagreement: str) -> Any:
        acts = VerdictActions(adversarial=adversarial, disagreement=disagreement)
        return make_policy(screens=ScreeningPolicy({"digits": ScreeningRules(acts)}))

    held = [policy("block", "flag")]
    unused: Any = None
    enforcement = Enforcement(unused, lambda: held[0], unused, unused)
    live: Any = SimpleNamespace(model="digits", config=SimpleNamespace(blocks=True))
    caller = held[0].with_role("client")[0]
    answers = answer(Verdict.ADVERSARIAL), answer(Verdict.CLEAN, float32_rows=1)

    def withheld() -> list[bool]:
        return [enforcement.withholds(live, caller, each) for each in answers]

    assert withheld() == withheld() == [True, False]
    held[0] = policy("flag", "block")
    assert withheld() == withheld() == [False, True]
