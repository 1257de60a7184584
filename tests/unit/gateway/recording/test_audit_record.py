"""Fields of log entries on screening and on the policy's action."""

import pytest

from gateway.recording.recorder import actions_of
from sealgate.reasons import Reason
from sealgate.trust.policy.screening import ScreeningRules
from sealgate.trust.receipts.answer_entry import ACTIONS, BY_CANARY, LABELS, TWO_STAGE
from tests.support.fakes.pipeline import GOES_ON, PASSES, PipelineHarness


def test_entries_say_two_stages_whichever_decided() -> None:
    pipeline = PipelineHarness(ScreeningRules())
    for row in (PASSES, GOES_ON):
        assert pipeline.ask(row)[0] == "answered"
    assert [outcome.screening for outcome in pipeline.recorded] == [TWO_STAGE] * 2
    assert {outcome.arithmetic for outcome in pipeline.recorded} == {"int8"}


@pytest.mark.parametrize(
    "reason",
    [
        Reason.ADVERSARIAL_INPUT,
        Reason.PROMPT_INJECTION,
        Reason.SESSION_BLOCKED,
        Reason.STEP_UP,
    ],
)
def test_what_the_policy_withholds_is_blocked(reason: Reason) -> None:
    assert actions_of(reason.name) == "blocked"
    assert actions_of(reason.name, {BY_CANARY}) == "blocked,canary"


def test_other_outcomes_are_not_blocked_and_words_are_sorted() -> None:
    assert actions_of("answered") == actions_of(Reason.TENSOR_SHAPE.name) == ""
    assert actions_of("answered", {LABELS, BY_CANARY}) == "canary,label-only"
    assert list(ACTIONS) == sorted(ACTIONS)
