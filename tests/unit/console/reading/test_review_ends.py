"""The overview says until when the approvals of what is live count."""

from datetime import timedelta

from console.reading.versions import review_ends
from sealgate.trust.policy.promotion_rules import ReviewRules, RiskTiers
from sealgate.v1.registry_pb2 import Pointer
from tests.support.builders.documents.people import NOW, PromotionDocuments, make_policy


def test_where_the_policy_says_for_how_long_approvals_count() -> None:
    policy = make_policy(
        risk=RiskTiers({"digits": "high"}, {}), review=ReviewRules({"high": 30}, {})
    )
    live = Pointer(bundle=PromotionDocuments(policy).promotion().encode())
    pointers = {("digits", "production"): live}
    end = NOW + timedelta(days=30) - timedelta(hours=1)
    assert review_ends(pointers, policy) == {("digits", "production"): end}
    assert review_ends(pointers, make_policy()) == {}
