"""The section `review`: for how long approvals count, and who owns a model."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import ReviewRules, RiskTiers
from sealgate.trust.statements import (
    Approval,
    Pointer,
    PointerBundle,
    review_end,
    sign_statement,
)
from tests.support.builders.documents.people import (
    NOW,
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
    verified_pointer,
)

RISK = RiskTiers({"digits": "high", "spam": "low"}, {})
RULES = ReviewRules({"high": 90, "medium": 365}, {"digits": "paula"})
POLICY = make_policy(risk=RISK, review=RULES)


def promotion(*approved: float, policy: Policy = POLICY) -> PointerBundle:
    """A promotion half an hour ago, approved so many days before that; see `people.py`."""
    office = PromotionDocuments(policy)
    proposal = office.proposal(created=at(days=-400))
    approvals = tuple(
        sign_statement(
            Approval(proposal.payload_digest, name, "I have read it.", at(days=-days, minutes=-30)),
            key(name),
        )
        for name, days in zip(("anna", "arne", "carla"), approved, strict=False)
    )
    pointer = sign_statement(office.pointer(proposal, approvals), key("otto"))
    return PointerBundle(pointer, sign_statement(proposal, key("paula")), approvals)


def verify(bundle: PointerBundle, policy: Policy = POLICY) -> Pointer:
    return verified_pointer(bundle, first=policy)


def test_the_section_is_read_as_it_was_written() -> None:
    assert Policy.decode(POLICY.encode()) == POLICY
    assert POLICY.owner("digits") == "paula"
    assert POLICY.owner("spam") == ""
    plain = make_policy()
    assert b"review" not in plain.encode()
    assert (plain.review_days("digits"), plain.owner("digits")) == (None, "")


def test_days_follow_the_tier_and_unknown_models_the_strictest() -> None:
    assert POLICY.review_days("digits") == 90
    assert POLICY.review_days("spam") is None
    assert POLICY.review_days("unheard") == 90
    assert make_policy(review=RULES).review_days("digits") == 90


def test_an_owner_is_somebody() -> None:
    with refused(Reason.POLICY_INVALID):
        make_policy(review=ReviewRules({}, {"digits": "nobody"}))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"days": {"high": 0}, "owners": {}},
        {"days": {"high": True}, "owners": {}},
        {"days": {"high": 4000}, "owners": {}},
        {"days": {"high": "90"}, "owners": {}},
        {"days": {}, "owners": {"digits": 1}},
        {"days": {}, "owners": {}, "also": {}},
        [],
    ],
)
def test_other_forms_are_refused(value: object) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ReviewRules.from_json(value)


def test_approvals_count_to_the_last_day() -> None:
    verify(promotion(89.9, 90))
    with refused(Reason.APPROVALS_EXPIRED):
        verify(promotion(1, 90.1))
    with refused(Reason.APPROVALS_MISSING):
        verify(promotion(90.1))


def test_approvals_of_the_future_do_not_count() -> None:
    with refused(Reason.APPROVALS_EXPIRED):
        verify(promotion(0, -1))


def test_a_promotion_that_was_sound_when_it_was_made_stays_so() -> None:
    bundle = promotion(80, 80)
    later = NOW + timedelta(days=20)
    verified_pointer(bundle, first=POLICY, now=later)
    end = review_end(bundle, POLICY)
    assert end is not None
    assert end < later


def test_the_review_is_due_when_too_few_approvals_count() -> None:
    bundle = promotion(1, 80)
    end = review_end(bundle, POLICY)
    assert end == NOW - timedelta(minutes=30) + timedelta(days=10)
    stricter = replace(POLICY, risk=RiskTiers({"digits": "high"}, {"high": {"production": 3}}))
    assert review_end(bundle, stricter) == NOW - timedelta(days=400)
    assert review_end(bundle, make_policy()) is None


def test_an_approval_of_the_future_does_not_delay_the_review() -> None:
    due = NOW - timedelta(minutes=30) + timedelta(days=10)
    assert review_end(promotion(-30, 1, 80), POLICY) == due
    # The last year that there is does not break what asks.
    last = (date.max - NOW.date()).days
    assert review_end(promotion(-last, -last, 80), POLICY) == NOW - timedelta(days=400)
