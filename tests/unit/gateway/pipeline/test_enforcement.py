"""The action on a verdict is looked up once per policy."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.enforcement import Enforcement
from inference.engine.result import InferenceResult
from inference.screening.detector import Verdict
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, VerdictActions
from tests.support.builders.documents.people import make_policy


def answer(verdict: Verdict, float32_rows: int = 0) -> InferenceResult:
    features = np.zeros((1, 3))
    return InferenceResult({}, features, 0.0, verdict, 1.0, float32_rows=float32_rows)


def enforcement(**actions: str) -> tuple[Enforcement, Any, Any]:
    """A policy with these actions for all verdicts, and a client."""
    policy = make_policy(screens=ScreeningPolicy({"*": ScreeningRules(VerdictActions(**actions))}))
    unused: Any = None
    own = Enforcement(unused, lambda: policy, unused, unused, unused)
    return own, policy, policy.with_role("client")[0]


TEXT: Any = SimpleNamespace(model="mails", config=SimpleNamespace(blocks=False))
PARAMS: Any = None


def test_no_more_leaves_for_an_adversarial_text_than_for_a_suspect_one() -> None:
    own, policy, caller = enforcement(adversarial="block", suspect="label-only")
    for verdict, reduced in (("clean", False), ("suspect", True), ("adversarial", True)):
        found = answer(Verdict(verdict))
        assert own.decide(policy, TEXT, PARAMS, caller, "", found).labels_only is reduced
        assert not own.withholds(policy, TEXT, caller, found)


def test_a_text_whose_answer_float32_changed_is_refused_where_the_policy_blocks_it() -> None:
    own, policy, caller = enforcement(disagreement="block")
    found = answer(Verdict.CLEAN, float32_rows=1)
    assert own.withholds(policy, TEXT, caller, found)
    with pytest.raises(SealgateError) as refusal:
        own.decide(policy, TEXT, PARAMS, caller, "", found)
    assert refusal.value.reason is Reason.ADVERSARIAL_INPUT


def test_versions_of_one_model_that_block_and_that_do_not_are_told_apart() -> None:
    own, policy, caller = enforcement(adversarial="block")
    blocks: Any = SimpleNamespace(model="mails", config=SimpleNamespace(blocks=True))
    found = answer(Verdict.ADVERSARIAL)
    assert [own.withholds(policy, live, caller, found) for live in (TEXT, blocks, TEXT)] == [
        False,
        True,
        False,
    ]


def test_another_policy_decides_anew() -> None:
    def policy(adversarial: str, disagreement: str) -> Any:
        acts = VerdictActions(adversarial=adversarial, disagreement=disagreement)
        return make_policy(screens=ScreeningPolicy({"digits": ScreeningRules(acts)}))

    held = [policy("block", "flag")]
    unused: Any = None
    enforcement = Enforcement(unused, lambda: held[0], unused, unused, unused)
    live: Any = SimpleNamespace(model="digits", config=SimpleNamespace(blocks=True))
    caller = held[0].with_role("client")[0]
    answers = answer(Verdict.ADVERSARIAL), answer(Verdict.CLEAN, float32_rows=1)

    def withheld() -> list[bool]:
        return [enforcement.withholds(held[0], live, caller, each) for each in answers]

    assert withheld() == withheld() == [True, False]
    held[0] = policy("flag", "block")
    assert withheld() == withheld() == [False, True]
