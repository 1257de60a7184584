"""Risk tiers: who judges a model, what that asks of a promotion, and rights that depend on it."""

import json
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import WILDCARD, Policy, Right, decide_rights
from sealgate.trust.policy.promotion_rules import RiskTiers, UnscreenedRules
from sealgate.trust.statements import verify_pointer
from tests.support.builders.documents.people import NOW, PromotionDocuments, make_policy, refused

RISK = RiskTiers({"digits": "high", "notes": "low"}, {"high": {"production": 3, "canary": 2}})
STAGING = Right(
    (), ("client",), ("infer",), (WILDCARD,), ("production",), environments=("staging",)
)
HARMLESS = Right((), ("client",), ("infer",), (WILDCARD,), (WILDCARD,), risk_tiers=("low",))


def test_a_policy_without_the_section_is_written_as_before() -> None:
    assert "risk" not in json.loads(make_policy().encode())
    plain = Right((), ("client",), ("infer",), (WILDCARD,), (WILDCARD,))
    assert plain.to_json().keys() == set(Right.FIELDS)


def test_sections_read_back() -> None:
    policy = make_policy(risk=RISK, rights=(STAGING, HARMLESS))
    assert Policy.decode(policy.encode()) == policy


@pytest.mark.parametrize(
    ("alias", "model", "people"),
    [
        ("production", "digits", 3),
        ("canary", "digits", 2),
        ("production", "notes", 2),
        ("canary", "notes", 1),
        # Nobody has judged it: as strict as the strictest.
        ("production", "unheard", 3),
        ("canary", "unheard", 2),
    ],
)
def test_how_many_approve(alias: str, model: str, people: int) -> None:
    assert make_policy(risk=RISK).approvals_for(alias, model) == people


def test_a_tier_never_asks_for_fewer_than_the_alias() -> None:
    risk = RiskTiers({"digits": "low"}, {"low": {"production": 1}})
    assert make_policy(risk=risk).approvals_for("production", "digits") == 2


def test_a_promotion_needs_what_the_tier_asks_for() -> None:
    policy = make_policy(risk=RISK)
    with refused(Reason.APPROVALS_MISSING):
        verify_pointer(
            PromotionDocuments(policy).promotion(), {policy.digest: policy}, policy, "paula", NOW
        )
    harmless = make_policy(risk=RiskTiers({"digits": "low"}, {}))
    promotion = PromotionDocuments(harmless).promotion()
    verify_pointer(promotion, {harmless.digest: harmless}, harmless, "paula", NOW)


@pytest.mark.parametrize(
    ("environment", "model", "allowed", "why"),
    [
        ("staging", "digits", True, "right 1 allows infer on digits/production"),
        (
            "production",
            "digits",
            False,
            "infer on digits/production: right 1 asks for environment staging, not production; "
            "right 2 asks for risk tier low, not high",
        ),
        ("", "digits", False, "environment staging, not one that is not known"),
        ("production", "notes", True, "right 2 allows"),
        ("production", "unheard", False, "risk tier low, not one that is not known"),
    ],
)
def test_conditions(environment: str, model: str, allowed: bool, why: str) -> None:
    policy = make_policy(risk=RISK, rights=(STAGING, HARMLESS))
    carla = policy.principal("carla")
    target = policy.target("infer", model, "production", environment)
    decision = decide_rights(policy.rights, carla.name, carla.roles, target)
    assert decision.allowed is allowed
    assert why in decision.why
    if allowed:
        policy.check_right(carla, target)
    else:
        with refused(Reason.RIGHT_MISSING):
            policy.check_right(carla, target)


def test_all_models_have_no_tier() -> None:
    policy = make_policy(risk=RISK, rights=(HARMLESS,))
    with refused(Reason.RIGHT_MISSING):
        policy.check_right(policy.principal("carla"), policy.target("infer", WILDCARD, WILDCARD))


@pytest.mark.parametrize(
    ("reason", "conditions"),
    [
        (Reason.POLICY_INVALID, {"risk_tiers": ["unheard"]}),
        (Reason.DOCUMENT_MALFORMED, {"risk_tiers": []}),
        (Reason.DOCUMENT_MALFORMED, {"environments": []}),
        (Reason.DOCUMENT_MALFORMED, {"environments": "staging"}),
        (Reason.DOCUMENT_MALFORMED, {"environments": ["staging", "staging"]}),
        (Reason.NAME_MALFORMED, {"environments": ["*"]}),
        (Reason.DOCUMENT_MALFORMED, {"weekdays": ["monday"]}),
    ],
)
def test_conditions_that_are_refused(reason: Reason, conditions: dict[str, Any]) -> None:
    policy = make_policy(risk=RISK)
    right = Right((), ("client",), ("infer",), (WILDCARD,), (WILDCARD,)).to_json() | conditions
    with refused(reason):
        Policy.decode(canonical.encode(json.loads(policy.encode()) | {"rights": [right]}))


def test_a_tier_in_a_policy_that_knows_none() -> None:
    with refused(Reason.POLICY_INVALID):
        make_policy(rights=(HARMLESS,))


@pytest.mark.parametrize(
    ("reason", "section"),
    [
        (Reason.DOCUMENT_MALFORMED, None),
        (Reason.DOCUMENT_MALFORMED, {"models": {}}),
        (Reason.DOCUMENT_MALFORMED, {"models": {"digits": 1}, "approvals": {}}),
        (Reason.DOCUMENT_MALFORMED, {"models": {}, "approvals": {"high": {"production": 0}}}),
        (Reason.DOCUMENT_MALFORMED, {"models": {}, "approvals": {"high": 2}}),
        (Reason.NAME_MALFORMED, {"models": {"*": "high"}, "approvals": {}}),
        (Reason.NAME_MALFORMED, {"models": {"digits": ""}, "approvals": {}}),
    ],
)
def test_sections_that_are_refused(reason: Reason, section: Any) -> None:
    document = json.loads(make_policy().encode()) | {"risk": section}
    with refused(reason):
        Policy.decode(canonical.encode(document))


UNSCREENED = UnscreenedRules(("low",))


@pytest.mark.parametrize(
    ("model", "sections"),
    [
        ("notes", {}),
        ("notes", {"risk": RISK}),
        ("notes", {"unscreened": UNSCREENED}),
        ("digits", {"risk": RISK, "unscreened": UNSCREENED}),
        ("unheard", {"risk": RISK, "unscreened": UNSCREENED}),
    ],
)
def test_screening_is_required_unless_the_models_tier_is_exempt(
    model: str, sections: dict[str, Any]
) -> None:
    policy = make_policy(**sections)
    policy.check_screening(model, screened=True)
    with refused(Reason.SCREENING_REQUIRED):
        policy.check_screening(model, screened=False)


def test_an_exempt_tier_needs_none() -> None:
    policy = make_policy(risk=RISK, unscreened=UNSCREENED)
    assert Policy.decode(policy.encode()) == policy
    policy.check_screening("notes", screened=False)


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ([], Reason.DOCUMENT_MALFORMED),
        (["low", "low"], Reason.DOCUMENT_MALFORMED),
        ("low", Reason.DOCUMENT_MALFORMED),
        # No name: so the unknown tier cannot be exempt.
        ([""], Reason.NAME_MALFORMED),
    ],
)
def test_an_exemption_names_tiers(tiers: Any, reason: Reason) -> None:
    with refused(reason):
        UnscreenedRules.from_json({"tiers": tiers})
