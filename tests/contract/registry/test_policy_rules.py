"""The policy's rules on proposals and promotions, over the database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy.promotion_rules import EvidenceRules, ReviewRules, RiskTiers
from sealgate.trust.times import format_time
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import at, key, refused, sign_policy
from tests.support.harness.registry import RegistryHarness


def test_evidence_of_the_right_kind_and_maker(harness: RegistryHarness) -> None:
    version = harness.publish()
    kind = harness.proposal(version).evidence[0][0]
    harness.accept(evidence=EvidenceRules({kind: ("evidence",)}))
    harness.release(version)


@pytest.mark.parametrize("kind", ["unheard", ""])
def test_evidence_that_is_missing_or_by_another(harness: RegistryHarness, kind: str) -> None:
    version = harness.publish()
    kind = kind or harness.proposal(version).evidence[0][0]
    harness.accept(evidence=EvidenceRules({kind: ("publisher",)}))
    reason = Reason.EVIDENCE_MISSING if kind == "unheard" else Reason.ROLE_TOO_LOW
    with refused(reason):
        harness.propose(version)


def test_evidence_by_somebody_who_is_no_more(harness: RegistryHarness) -> None:
    version = harness.publish()
    kind = harness.proposal(version).evidence[0][0]
    people = tuple(p for p in harness.policy.principals if p.name != "robot")
    harness.accept(evidence=EvidenceRules({kind: ("evidence",)}), principals=people)
    with refused(Reason.PRINCIPAL_UNKNOWN):
        harness.propose(version)


def test_a_tier_asks_for_more_approvers(harness: RegistryHarness) -> None:
    harness.accept(risk=RiskTiers({"digits": "high"}, {"high": {"production": 3}}))
    with refused(Reason.APPROVALS_MISSING):
        harness.release(harness.publish())


def test_issued_in_the_future(harness: RegistryHarness) -> None:
    later = replace(harness.policy, version=2, issued=at(hours=1))
    with refused(Reason.POLICY_INVALID):
        harness.registry.policies.accept("otto", sign_policy(later).encode())
    harness.accept(issued=at(minutes=4))


def test_a_second_answer_log(harness: RegistryHarness) -> None:
    second = vkey("example.org/answers-2", key("answers-2").public)
    policy = harness.accept(answer_logs=(*harness.policy.answer_logs, second))
    assert policy.is_answer_log("example.org/answers-2")
    assert harness.reopen().policies.current() == policy


def test_approvals_that_are_too_old_promote_nothing(harness: RegistryHarness) -> None:
    risk = RiskTiers({"digits": "high"}, {})
    harness.accept(risk=risk, review=ReviewRules({"high": 2}, {"digits": "paula"}))
    proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
    approved = format_time(harness.now)
    harness.now += timedelta(days=3)
    with refused(Reason.APPROVALS_EXPIRED):
        harness.promote(proposal)
    # Nor does a pointer that is dated back.
    with refused(Reason.APPROVALS_EXPIRED):
        harness.promote(proposal, time=approved)


def test_a_version_is_renewed_by_a_new_proposal_of_itself(harness: RegistryHarness) -> None:
    risk = RiskTiers({"digits": "high"}, {})
    harness.accept(risk=risk, review=ReviewRules({"high": 2}, {}))
    version = harness.publish()
    harness.release(version)
    harness.now += timedelta(days=3)
    assert harness.release(version, predecessor=1).version == version.version
