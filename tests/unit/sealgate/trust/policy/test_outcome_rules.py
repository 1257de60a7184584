"""The policy's section `outcomes`: its form, and what it may roll back."""

from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.policy.health_limits import (
    HealthLimits,
    HealthRules,
    ModelOutcomes,
    OutcomeLimits,
    OutcomeRules,
)
from tests.support.builders.documents.people import make_policy, refused

LIMITS = OutcomeLimits(3600, 50, "rollback", accuracy_percent=90)
RULES = OutcomeRules(
    {"*": ModelOutcomes(), "digits": ModelOutcomes({"age": ("young", "old")}, {"canary": LIMITS})}
)


def test_a_policy_reads_back_and_says_nothing_where_it_has_none() -> None:
    policy = make_policy(outcomes=RULES)
    assert Policy.decode(policy.encode()) == policy
    assert b'"outcomes"' not in make_policy().encode()
    assert canonical.decode(policy.encode())["outcomes"] == {
        "*": {},
        "digits": {
            "groups": {"age": ["young", "old"]},
            "aliases": {
                "canary": {
                    "window_seconds": 3600,
                    "minimum_outcomes": 50,
                    "action": "rollback",
                    "accuracy_percent": 90,
                }
            },
        },
    }


def test_the_rules_of_a_model_are_its_own_where_it_is_named() -> None:
    assert RULES.of("digits").aliases == {"canary": LIMITS}
    assert RULES.of("faces") == ModelOutcomes()
    assert OutcomeRules({"digits": ModelOutcomes()}).of("faces") is None


SIZES = {"window_seconds": 60, "minimum_outcomes": 100, "action": "alarm"}


@pytest.mark.parametrize(
    "limits",
    [
        SIZES,
        {"accuracy_percent": 5},
        SIZES | {"accuracy_percent": None},
        SIZES | {"accuracy_percent": 101},
        SIZES | {"ece_percent": -1},
        SIZES | {"group_gap_percent": 5.5},
        SIZES | {"psi_percent": 0},
        SIZES | {"ece_percent": 5, "mood": 1},
        SIZES | {"ece_percent": 5, "action": "pray"},
        SIZES | {"ece_percent": 5, "window_seconds": 0},
        SIZES | {"ece_percent": 5, "window_seconds": 400 * 86400 + 1},
        SIZES | {"ece_percent": 5, "minimum_outcomes": 0},
        SIZES | {"ece_percent": 5, "minimum_outcomes": 32769},
        [],
    ],
)
def test_limits_in_another_form_are_refused(limits: object) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        OutcomeRules.from_json({"digits": {"aliases": {"production": limits}}})


@pytest.mark.parametrize(
    "rules",
    [
        [],
        {"groups": {}},
        {"aliases": {}},
        {"limits": {}},
        {"groups": {"age": ["old"]}},
        {"groups": {"age": ["old", "old"]}},
        {"groups": {"age": [1, 2]}},
        {"groups": {"age": [f"g{number}" for number in range(33)]}},
        {"groups": {f"a{number}": ["yes", "no"] for number in range(9)}},
    ],
)
def test_rules_in_another_form_are_refused(rules: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        OutcomeRules.from_json({"digits": rules})


@pytest.mark.parametrize(
    "models",
    [
        {"Digits": {}},
        {"digits": {"groups": {"Age": ["young", "old"]}}},
        {"digits": {"groups": {"age": ["Young", "old"]}}},
        {"digits": {"aliases": {"*": SIZES | {"ece_percent": 5}}}},
    ],
)
def test_names_in_another_form_are_refused(models: Any) -> None:
    with refused(Reason.NAME_MALFORMED):
        OutcomeRules.from_json(models)


def test_outcomes_roll_back_what_health_names() -> None:
    health = HealthLimits(60, 100, error_percent=5)
    make_policy(outcomes=RULES, health=HealthRules({"digits": {"canary": health}}))
    with refused(Reason.POLICY_INVALID):
        make_policy(outcomes=RULES, health=HealthRules({"digits": {"production": health}}))
