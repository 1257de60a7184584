"""Rights with conditions over the wire: a gateway of the environment `staging`."""

import pytest

from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running
from tests.support.harness.policy_changes import accept

pytestmark = pytest.mark.slow

CLIENTS = {
    "principals": [],
    "roles": ["client"],
    "actions": ["infer"],
    "models": ["*"],
    "aliases": ["production"],
}
STAFF = CLIENTS | {
    "roles": ["admin", "publisher", "approver"],
    "actions": ["read", "propose", "approve", "promote"],
    "aliases": ["*"],
}
HIGH = {"models": {"digits": "high"}, "approvals": {"high": {"production": 3}}}
LOW = {"models": {"digits": "low"}, "approvals": {"high": {"production": 3}}}


@pytest.fixture(scope="module")
def harness(tmp_path_factory) -> GatewayHarness:
    harness = GatewayHarness(tmp_path_factory.mktemp("conditions") / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as settings:
        settings.write('[gateway]\nenvironment = "staging"\n')
    harness.start()
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


def infer(harness):
    return harness.inference().ModelInfer(question("digits", rows()), timeout=60)


@pytest.mark.parametrize(
    ("conditions", "risk", "answered"),
    [
        ({"environments": ["production", "staging"]}, HIGH, True),
        ({"environments": ["production"]}, HIGH, False),
        ({"risk_tiers": ["high"]}, HIGH, True),
        ({"risk_tiers": ["high"]}, LOW, False),
        ({"environments": ["staging"], "risk_tiers": ["low"]}, LOW, True),
        ({"environments": ["production"], "risk_tiers": ["low"]}, LOW, False),
        ({"risk_tiers": ["high"]}, HIGH | {"models": {}}, False),
    ],
)
def test_a_condition_is_held_against_the_gateway_and_the_policy(
    harness, conditions, risk, answered
):
    accept(harness, rights=[CLIENTS | conditions], risk=risk)
    if answered:
        assert infer(harness).model_version == "1"
    else:
        assert refusal(infer, harness) is Reason.RIGHT_MISSING


def test_a_gateway_of_no_environment(tmp_path):
    with running(tmp_path / "state") as harness:
        accept(harness, rights=[CLIENTS | {"environments": ["staging"]}])
        assert refusal(infer, harness) is Reason.RIGHT_MISSING


def test_a_higher_tier_asks_for_more_approvers(harness):
    accept(harness, rights=[STAFF], risk=HIGH)
    digest = harness.approved("digits", 1)
    admin = harness.governance("admin")
    assert refusal(admin.promote, digest, "try") is Reason.APPROVALS_MISSING


def test_an_approver_is_shown_no_evidence_by_who_may_not_make_it(harness):
    accept(harness, rights=[STAFF], risk=LOW)
    digest = harness.propose("digits", 1).digest
    review = harness.governance("approver-1").review
    assert review(digest, lambda path: None).publisher == "publisher"
    accept(harness, evidence={"golden-run": ["evidence"]})
    with refused(Reason.ROLE_TOO_LOW):
        review(digest, lambda path: None)
