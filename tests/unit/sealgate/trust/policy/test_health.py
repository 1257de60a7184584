"""The policy's section `health`: its form, and what a service may roll back under it."""

from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.policy.health_limits import HealthLimits, HealthRules
from tests.support.builders.documents.people import (
    PromotionDocuments,
    make_policy,
    refused,
    verified_pointer,
)

LIMITS = HealthLimits(60, 100, error_percent=5)
HEALTH = HealthRules({"*": {"production": LIMITS}, "faces": {"canary": LIMITS}})


def verify(policy: Policy, admin: str, **proposal: Any) -> None:
    promotion_documents = PromotionDocuments(policy)
    bundle = promotion_documents.rollback(promotion_documents.promotion(**proposal), admin=admin)
    verified_pointer(bundle, first=policy)


def test_a_policy_reads_back_and_says_nothing_where_it_has_none() -> None:
    policy = make_policy(health=HEALTH)
    assert Policy.decode(policy.encode()) == policy
    assert b'"health"' not in make_policy().encode()
    assert canonical.decode(policy.encode())["health"]["*"]["production"] == {
        "window_seconds": 60,
        "minimum_requests": 100,
        "error_percent": 5,
    }


def test_the_limits_of_a_model_are_its_own_where_it_is_named() -> None:
    assert HEALTH.limits("digits", "production") == LIMITS
    assert HEALTH.limits("digits", "canary") is None
    assert HEALTH.limits("faces", "canary") == LIMITS
    assert HEALTH.limits("faces", "production") is None


SIZES = {"window_seconds": 60, "minimum_requests": 100}


@pytest.mark.parametrize(
    "limits",
    [
        SIZES,
        {"error_percent": 5},
        SIZES | {"error_percent": None},
        SIZES | {"error_percent": 101},
        SIZES | {"error_percent": -1},
        SIZES | {"screening_percent": 5.5},
        SIZES | {"p99_ms": 0},
        SIZES | {"disagreement_percent": "5"},
        SIZES | {"error_percent": 5, "mood": 1},
        SIZES | {"error_percent": 5, "window_seconds": 0},
        SIZES | {"error_percent": 5, "window_seconds": 86401},
        SIZES | {"error_percent": 5, "minimum_requests": 0},
        [],
    ],
)
def test_limits_in_another_form_are_refused(limits: object) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        HealthRules.from_json({"digits": {"production": limits}})


@pytest.mark.parametrize("places", [{"Digits": {}}, {"digits": {"*": LIMITS}}])
def test_names_in_another_form_are_refused(places: dict[str, Any]) -> None:
    with refused(Reason.NAME_MALFORMED):
        HealthRules(places)


@pytest.mark.parametrize("policy", [make_policy(), make_policy(health=HEALTH)])
def test_a_service_returns_what_health_names(policy: Policy) -> None:
    verify(policy, "guard")


def test_a_service_returns_no_other_alias() -> None:
    policy = make_policy(health=HEALTH)
    with refused(Reason.ROLE_TOO_LOW):
        verify(policy, "guard", alias="canary")
    with refused(Reason.ROLE_TOO_LOW):
        verify(make_policy(health=HealthRules({})), "guard")
    verify(policy, "otto", alias="canary")


def test_a_service_promotes_nothing() -> None:
    policy = make_policy(health=HEALTH)
    bundle = PromotionDocuments(policy).promotion(pointer={"admin": "guard"})
    with refused(Reason.ROLE_TOO_LOW):
        verified_pointer(bundle, first=policy)
