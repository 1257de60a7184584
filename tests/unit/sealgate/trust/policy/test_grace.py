"""The grace after a policy's end: what stands goes on in it, and nothing begins."""

import json
from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy, next_policy, open_policy
from sealgate.trust.policy.validity import LONGEST, NO_GRACE_PERIOD, GracePeriod
from sealgate.trust.statements import verify_freshness, verify_pointer
from sealgate.trust.times import parse_time
from tests.support.builders.documents.people import (
    NOW,
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
    sign_policy,
)

DAY = 86400
SECOND = timedelta(seconds=1)
GRACE = GracePeriod(7 * DAY)
END = parse_time(at(days=300))
OVER = END + timedelta(days=7)
ROOTS = {key(f"root-{n}").public.keyid: key(f"root-{n}").public for n in range(3)}


def test_a_policy_without_the_section_is_written_as_before() -> None:
    assert "grace" not in json.loads(make_policy().encode())
    assert make_policy().grace == NO_GRACE_PERIOD


def test_the_section_reads_back() -> None:
    policy = make_policy(grace=GRACE)
    assert json.loads(policy.encode())["grace"] == {"seconds": 7 * DAY}
    assert Policy.decode(policy.encode()) == policy


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"seconds": 0}, Reason.DOCUMENT_MALFORMED),
        ({"seconds": -1}, Reason.DOCUMENT_MALFORMED),
        ({"seconds": 1.5}, Reason.DOCUMENT_MALFORMED),
        ({"seconds": True}, Reason.DOCUMENT_MALFORMED),
        ({"days": 1}, Reason.DOCUMENT_MALFORMED),
        (7, Reason.DOCUMENT_MALFORMED),
        ({"seconds": 30 * DAY + 1}, Reason.POLICY_INVALID),
    ],
)
def test_what_is_no_grace(value: object, reason: Reason) -> None:
    with refused(reason):
        GracePeriod.from_json(value)


def test_what_stands_goes_on_until_the_grace_is_over() -> None:
    policy = make_policy(grace=GRACE)
    policy.check_standing(OVER - SECOND)
    with refused(Reason.POLICY_EXPIRED):
        policy.check_standing(OVER)
    envelope = sign_policy(policy)
    assert open_policy(envelope, ROOTS, 2, OVER - SECOND) == policy
    with refused(Reason.POLICY_EXPIRED):
        open_policy(envelope, ROOTS, 2, OVER)


def test_nothing_begins_in_it() -> None:
    policy = make_policy(grace=GRACE)
    policy.check_unexpired(END - SECOND)
    with refused(Reason.POLICY_EXPIRED):
        policy.check_unexpired(END)


def test_without_one_everything_ends_at_once() -> None:
    policy = make_policy()
    policy.check_standing(END - SECOND)
    with refused(Reason.POLICY_EXPIRED):
        policy.check_standing(END)


def test_a_successor_must_not_have_expired_whatever_its_grace() -> None:
    current = make_policy(grace=GRACE)
    late = make_policy(
        version=2, issued=at(days=-9), expires=at(days=-1), grace=GracePeriod(2 * DAY)
    )
    with refused(Reason.POLICY_EXPIRED):
        next_policy(current, sign_policy(late), NOW)


def test_a_policy_may_end_on_the_last_day_that_there_is() -> None:
    policy = make_policy(
        expires="9999-12-31T23:59:59Z", grace=GracePeriod(int(LONGEST.total_seconds()))
    )
    policy.check_standing(NOW)


def in_grace(**changes: object) -> tuple[Policy, PromotionDocuments]:
    """A policy that expired an hour ago, in its grace, and those who sign under it."""
    policy = make_policy(expires=at(hours=-1), grace=GRACE, **changes)
    return policy, PromotionDocuments(policy)


def test_a_promotion_of_before_stands_and_none_is_made_in_it() -> None:
    policy, promotion_documents = in_grace()
    before = promotion_documents.promotion(pointer={"time": at(minutes=-90)})
    chain = {policy.digest: policy}
    assert verify_pointer(before, chain, policy, "paula", NOW).sequence == 1
    with refused(Reason.POLICY_EXPIRED):
        verify_pointer(promotion_documents.promotion(), chain, policy, "paula", NOW)


def test_a_rollback_in_it_holds_and_none_after_it() -> None:
    policy, promotion_documents = in_grace()
    before = promotion_documents.promotion(pointer={"time": at(minutes=-90)})
    chain = {policy.digest: policy}
    back = promotion_documents.rollback(before)
    assert verify_pointer(back, chain, policy, "paula", NOW).sequence == 3
    late = promotion_documents.rollback(before, time=at(days=8))
    with refused(Reason.POLICY_EXPIRED):
        verify_pointer(late, chain, policy, "paula", parse_time(at(days=8)))


def test_a_pointer_ends_with_the_grace() -> None:
    policy, promotion_documents = in_grace()
    before = promotion_documents.promotion(pointer={"time": at(minutes=-90)})
    with refused(Reason.POLICY_EXPIRED):
        verify_pointer(before, {policy.digest: policy}, policy, "paula", parse_time(at(days=7)))


def test_a_statement_of_freshness_is_signed_in_it() -> None:
    policy, promotion_documents = in_grace()
    assert verify_freshness(promotion_documents.freshness(), policy, NOW).sequence == 1
    with refused(Reason.POLICY_EXPIRED):
        verify_freshness(promotion_documents.freshness(), policy, parse_time(at(days=7)))
