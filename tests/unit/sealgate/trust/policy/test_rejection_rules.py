"""The section `rejections`: what an approver's rejection stops."""

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import RejectionRules
from tests.support.builders.documents.people import make_policy, refused


@pytest.mark.parametrize(("stops", "serving"), [("promotion", False), ("serving", True)])
def test_the_section_is_read_as_it_was_written(stops: str, serving: bool) -> None:
    policy = make_policy(rejections=RejectionRules(stops))
    assert Policy.decode(policy.encode()) == policy
    assert policy.rejections_stop_serving is serving


def test_without_the_section_a_rejection_stops_the_promotion_alone() -> None:
    policy = make_policy()
    assert b"rejections" not in policy.encode()
    assert not policy.rejections_stop_serving


def test_a_rejection_stops_nothing_else() -> None:
    with refused(Reason.POLICY_INVALID):
        RejectionRules("everything")
    for value in ({}, {"stops": 1}, {"stops": "serving", "also": ""}, []):
        with refused(Reason.DOCUMENT_MALFORMED):
            RejectionRules.from_json(value)
