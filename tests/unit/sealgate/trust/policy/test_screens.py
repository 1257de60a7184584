"""The policy's section `screens`: its form, and whose word goes before whose."""

from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.policy.screening import (
    PromptClassifierRules,
    ScreeningPolicy,
    ScreeningRules,
    SessionRules,
    StepUpRule,
    VerdictActions,
)
from tests.support.builders.documents.people import make_policy, refused

RULES = make_policy().rules
STEP = StepUpRule("approver", 900)
_DIGEST = "sha256:" + "1" * 64
_GUARD = {"version": _DIGEST, "label": "injection", "action": "block"}
DIGITS = ScreeningRules(
    VerdictActions(adversarial="step-up"),
    {
        "client": VerdictActions(suspect="label-only", labels_only=True),
        "auditor": VerdictActions("flag"),
    },
    STEP,
    hold_ms=40,
    sessions=SessionRules("label-only", "slow", 3600, 500),
)


def test_a_policy_reads_back_and_says_nothing_where_it_has_none() -> None:
    held = ScreeningRules(hold_ms=5, hold_stage=True)
    guarded = ScreeningRules(
        guard=PromptClassifierRules(
            _DIGEST,
            "injection",
            "block",
            {"tool": PromptClassifierRules(_DIGEST, "evil", "flag", margin=-125)},
        )
    )
    policy = make_policy(screens=ScreeningPolicy({"digits": DIGITS, "chat": guarded, "*": held}))
    assert Policy.decode(policy.encode()) == policy
    assert b'"screens"' not in make_policy().encode()
    assert canonical.decode(policy.encode())["screens"]["*"] == {"hold_ms": 5, "hold_stage": True}


def test_a_guard_without_classes_of_length_is_written_as_it_ever_was() -> None:
    old = {"chat": {"guard": {**_GUARD, "roles": {"tool": {**_GUARD, "margin": 198}}}}}
    read = ScreeningPolicy.from_json(old)
    assert read.to_json() == old
    guard = read.of("chat").guard
    assert guard is not None
    assert not guard.by_windows
    assert not guard.roles["tool"].by_windows


def test_a_guard_has_a_margin_for_each_class_of_length() -> None:
    of_tools = {"tool": {**_GUARD, "by_windows": {"4": 60}}}
    by_windows = {"16": 210, "2": 40, "4": -5}
    new = {"chat": {"guard": {**_GUARD, "by_windows": by_windows, "roles": of_tools}}}
    policy = make_policy(screens=ScreeningPolicy.from_json(new))
    guard = Policy.decode(policy.encode()).screen("chat").guard
    assert guard is not None
    assert guard.by_windows == {2: 40, 4: -5, 16: 210}
    assert guard.roles["tool"].by_windows == {4: 60}
    assert canonical.decode(policy.encode())["screens"] == new


def test_a_model_that_is_not_named_goes_by_the_star_or_by_screening() -> None:
    policy = make_policy(
        screens=ScreeningPolicy({"digits": DIGITS, "*": ScreeningRules(hold_ms=5)})
    )
    assert policy.screen("digits") == DIGITS
    assert policy.screen("faces").hold_ms == 5
    plain = make_policy().screen("digits")
    assert [plain.action(v, ("client",), RULES) for v in ("clean", "suspect", "adversarial")] == [
        "record",
        "flag",
        "block",
    ]


@pytest.mark.parametrize(
    ("verdict", "roles", "action"),
    [
        ("adversarial", ("client",), "step-up"),
        ("adversarial", ("auditor",), "flag"),
        ("adversarial", ("auditor", "client"), "step-up"),
        ("suspect", ("client",), "label-only"),
        ("suspect", ("auditor",), "flag"),
        ("clean", ("client",), "record"),
        ("adversarial", (), "step-up"),
    ],
)
def test_a_role_goes_before_the_model_and_the_strictest_role_counts(
    verdict: str, roles: tuple[str, ...], action: str
) -> None:
    assert DIGITS.action(verdict, roles, RULES) == action


@pytest.mark.parametrize(
    ("general", "role", "verdict", "action"),
    [
        (None, None, "clean", "record"),
        ("block", None, "clean", "block"),
        (None, "label-only", "clean", "label-only"),
        ("flag", "block", "suspect", "block"),
        ("label-only", "block", "adversarial", "block"),
        ("label-only", None, "adversarial", "block"),
    ],
)
def test_disagreement_leads_to_the_strictest_that_is_said(
    general: str | None, role: str | None, verdict: str, action: str
) -> None:
    said = VerdictActions(disagreement=role)
    screen = ScreeningRules(VerdictActions(disagreement=general), {"client": said} if role else {})
    policy = make_policy(screens=ScreeningPolicy({"digits": screen}))
    assert Policy.decode(policy.encode()).screen("digits") == screen
    by_verdict = screen.action(verdict, ("client",), RULES)
    assert screen.with_disagreement(by_verdict, ("client",)) == action


@pytest.mark.parametrize(
    ("adversarial", "suspect", "action"),
    [
        ("block", "label-only", "label-only"),
        ("block", "flag", "flag"),
        ("block", "step-up", "step-up"),
        ("block", "block", "label-only"),
        ("step-up", "flag", "step-up"),
        ("record", "label-only", "record"),
    ],
)
def test_where_nothing_blocks_the_worse_verdict_leads_to_what_the_milder_one_does(
    adversarial: str, suspect: str, action: str
) -> None:
    acts = VerdictActions(adversarial=adversarial, suspect=suspect)
    screen = ScreeningRules(acts, step_up=StepUpRule("approver", 900))
    assert screen.action_without_block("adversarial", ("client",), RULES) == action


def test_labels_only_is_for_a_role_or_for_everybody() -> None:
    assert DIGITS.labels_only(("client",))
    assert not DIGITS.labels_only(("auditor",))
    assert ScreeningRules(VerdictActions(labels_only=True)).labels_only(("auditor",))


MALFORMED, INVALID = Reason.DOCUMENT_MALFORMED, Reason.POLICY_INVALID


@pytest.mark.parametrize(
    ("reason", "screen"),
    [
        (INVALID, {"verdicts": {"adversarial": "step-up"}}),
        (INVALID, {"verdicts": {"disagreement": "step-up"}}),
        (MALFORMED, {"suspect_hold_ms": 60_001}),
        (MALFORMED, {"suspect_hold_ms": "100"}),
        (INVALID, {"verdicts": {"disagreement": "float32"}}),
        (INVALID, {"roles": {"client": {"suspect": "step-up"}}}),
        (INVALID, {"verdicts": {"adversarial": "shrug"}}),
        (INVALID, {"roles": {"passer-by": {"suspect": "block"}}}),
        (INVALID, {"step_up": {"role": "passer-by", "seconds": 9}}),
        (INVALID, {"sessions": {"search": "shrug", "extraction": "alert", "seconds": 9}}),
        (MALFORMED, {"verdicts": {"adversarial": ["block"]}}),
        (MALFORMED, {"verdicts": {"clean": "block"}}),
        (MALFORMED, {"verdicts": {}}),
        (MALFORMED, {"roles": {"client": {"labels_only": 1}}}),
        (MALFORMED, {"roles": {"client": {"labels_only": False}}}),
        (MALFORMED, {"step_up": {"role": "approver", "seconds": 0}}),
        (MALFORMED, {"step_up": {"role": "approver"}}),
        (MALFORMED, {"hold_ms": 0}),
        (MALFORMED, {"hold_ms": 60_001}),
        (MALFORMED, {"hold_ms": True}),
        (MALFORMED, {"hold_stage": False}),
        (MALFORMED, {"hold_stage": 1}),
        (MALFORMED, {"sessions": {"search": "slow", "extraction": "alert", "seconds": 9}}),
        (
            MALFORMED,
            {"sessions": {"search": "block", "extraction": "alert", "seconds": 9, "slow_ms": 5}},
        ),
        (MALFORMED, {"sessions": {"search": "block", "extraction": "alert"}}),
        (MALFORMED, {"guard": {"version": "1", "label": "injection", "action": "block"}}),
        (MALFORMED, {"guard": {"version": _DIGEST, "label": "", "action": "block"}}),
        (MALFORMED, {"guard": {"version": _DIGEST, "label": "injection"}}),
        (INVALID, {"guard": {"version": _DIGEST, "label": "injection", "action": "step-up"}}),
        (MALFORMED, {"guard": {**_GUARD, "margin": 0.5}}),
        (MALFORMED, {"guard": {**_GUARD, "margin": -100_001}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": [2, 40]}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"1": 40}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"02": 40}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"two": 40}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"\u0662": 40}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"2" * 5000: 40}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"2": 0.5}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {"2": 100_001}}}),
        (MALFORMED, {"guard": {**_GUARD, "by_windows": {str(n): 1 for n in range(2, 19)}}}),
        (MALFORMED, {"guard": {**_GUARD, "roles": {"tool": {}}}}),
        (MALFORMED, {"guard": {**_GUARD, "roles": {"": _GUARD}}}),
        (MALFORMED, {"guard": {**_GUARD, "roles": {"r" * 65: _GUARD}}}),
        (MALFORMED, {"guard": {**_GUARD, "roles": {"tool": {**_GUARD, "roles": {"a": _GUARD}}}}}),
        (MALFORMED, {"odd": 1}),
    ],
)
def test_a_section_of_another_form_is_refused(reason: Reason, screen: dict[str, Any]) -> None:
    with refused(reason):
        ScreeningPolicy.from_json({"digits": screen})


def test_a_model_must_have_a_name() -> None:
    with refused(Reason.NAME_MALFORMED):
        ScreeningPolicy.from_json({"Digits!": {"hold_ms": 5}})
