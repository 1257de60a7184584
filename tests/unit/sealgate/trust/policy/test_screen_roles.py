"""For a caller with several roles the strictest rule of any role applies."""

from itertools import permutations

import pytest

from sealgate.trust.policy import PolicyRules
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, VerdictActions
from tests.support.builders.documents.people import make_policy

RULES = PolicyRules({}, "block", "flag", 3600, 86400)
MILD = ScreeningRules(roles={"auditor": VerdictActions(adversarial="record", suspect="record")})
MIXED = ScreeningRules(
    VerdictActions(adversarial="label-only"),
    {
        "auditor": VerdictActions(adversarial="record", suspect="label-only"),
        "client": VerdictActions(adversarial="block", suspect="record"),
    },
)


@pytest.mark.parametrize(
    ("roles", "adversarial", "suspect"),
    [
        (("auditor",), "record", "record"),
        (("client",), "block", "flag"),
        (("client", "auditor"), "block", "flag"),
        (("client", "auditor", "approver"), "block", "flag"),
    ],
)
def test_a_lenient_role_counts_only_alone(
    roles: tuple[str, ...], adversarial: str, suspect: str
) -> None:
    for order in permutations(roles):
        assert MILD.action("adversarial", order, RULES) == adversarial
        assert MILD.action("suspect", order, RULES) == suspect
        assert MILD.action("clean", order, RULES) == "record"


def test_each_verdict_takes_the_strictest_role() -> None:
    roles = ("auditor", "client", "approver")
    assert MIXED.action("adversarial", roles, RULES) == "block"
    assert MIXED.action("suspect", roles, RULES) == "label-only"
    assert MIXED.action("adversarial", ("auditor", "approver"), RULES) == "label-only"
    assert MIXED.action("suspect", ("auditor", "approver"), RULES) == "label-only"


def test_the_policy_takes_the_strictest_role() -> None:
    policy = make_policy(screens=ScreeningPolicy({"digits": MILD}))
    assert policy.screen("digits").action("adversarial", ("client", "auditor"), RULES) == "block"
