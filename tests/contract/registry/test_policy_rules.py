"""What a policy asks of a proposal and of a promotion, over the database."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy.promotion_rules import EvidenceRules, RiskTiers
from sealgate.trust.transparency.note import vkey
from tests.support.bureau import Bureau
from tests.support.people import at, key, refused, sign_policy


def test_evidence_of_the_right_kind_and_maker(bureau: Bureau) -> None:
    version = bureau.publish()
    kind = bureau.proposal(version).evidence[0][0]
    bureau.accept(evidence=EvidenceRules({kind: ("evidence",)}))
    bureau.release(version)


@pytest.mark.parametrize("kind", ["unheard", ""])
def test_evidence_that_is_missing_or_by_another(bureau: Bureau, kind: str) -> None:
    version = bureau.publish()
    kind = kind or bureau.proposal(version).evidence[0][0]
    bureau.accept(evidence=EvidenceRules({kind: ("publisher",)}))
    reason = Reason.EVIDENCE_MISSING if kind == "unheard" else Reason.ROLE_TOO_LOW
    with refused(reason):
        bureau.propose(version)


def test_evidence_by_somebody_who_is_no_more(bureau: Bureau) -> None:
    version = bureau.publish()
    kind = bureau.proposal(version).evidence[0][0]
    people = tuple(p for p in bureau.policy.principals if p.name != "robot")
    bureau.accept(evidence=EvidenceRules({kind: ("evidence",)}), principals=people)
    with refused(Reason.PRINCIPAL_UNKNOWN):
        bureau.propose(version)


def test_a_tier_asks_for_more_approvers(bureau: Bureau) -> None:
    bureau.accept(risk=RiskTiers({"digits": "high"}, {"high": {"production": 3}}))
    with refused(Reason.APPROVALS_MISSING):
        bureau.release(bureau.publish())


def test_issued_in_the_future(bureau: Bureau) -> None:
    later = replace(bureau.policy, version=2, issued=at(hours=1))
    with refused(Reason.POLICY_INVALID):
        bureau.registry.policies.accept("otto", sign_policy(later).encode())
    bureau.accept(issued=at(minutes=4))


def test_a_second_answer_log(bureau: Bureau) -> None:
    second = vkey("example.org/answers-2", key("answers-2").public)
    policy = bureau.accept(answer_logs=(*bureau.policy.answer_logs, second))
    assert policy.is_answer_log("example.org/answers-2")
    assert bureau.reopen().policies.current() == policy
