"""The evidence that a policy asks for: which kinds, and from whom."""

import json
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import EvidenceRules
from sealgate.trust.statements import verify_pointer
from tests.support.builders.documents.people import NOW, PromotionDocuments, make_policy, refused

RULES = EvidenceRules({"golden-run": ("publisher", "evidence"), "review": ("evidence",)})


def test_it_reads_back_and_may_be_left_out() -> None:
    policy = make_policy(evidence=RULES)
    assert Policy.decode(policy.encode()) == policy
    assert "evidence" not in json.loads(make_policy().encode())


def test_a_promotion_carries_every_kind() -> None:
    asked = {"golden-run": ("publisher",), "bill-of-materials": ("publisher",)}
    for rules, missing in ((EvidenceRules(asked), False), (RULES, True)):
        policy = make_policy(evidence=rules)
        promotion = PromotionDocuments(policy).promotion()
        if missing:
            with refused(Reason.EVIDENCE_MISSING):
                verify_pointer(promotion, {policy.digest: policy}, policy, "paula", NOW)
        else:
            verify_pointer(promotion, {policy.digest: policy}, policy, "paula", NOW)


def test_who_may_make_it() -> None:
    RULES.check_maker("golden-run", ("publisher",))
    RULES.check_maker("review", ("evidence",))
    RULES.check_maker("something-else", ("publisher",))
    for kind, role in (("review", "publisher"), ("golden-run", "admin"), ("else", "client")):
        with refused(Reason.ROLE_TOO_LOW):
            RULES.check_maker(kind, (role,))


@pytest.mark.parametrize(
    ("reason", "section"),
    [
        (Reason.POLICY_INVALID, {"review": []}),
        (Reason.POLICY_INVALID, {"review": ["admin"]}),
        (Reason.DOCUMENT_MALFORMED, {"review": ["evidence", "evidence"]}),
        (Reason.DOCUMENT_MALFORMED, {"review": "evidence"}),
        (Reason.DOCUMENT_MALFORMED, []),
        (Reason.DOCUMENT_MALFORMED, None),
        (Reason.NAME_MALFORMED, {"A review": ["evidence"]}),
    ],
)
def test_sections_that_are_refused(reason: Reason, section: Any) -> None:
    document = json.loads(make_policy().encode()) | {"evidence": section}
    with refused(reason):
        Policy.decode(canonical.encode(document))
