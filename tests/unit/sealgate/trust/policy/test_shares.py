"""Shares of production's requests: who may give them, and which requests are in them."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import PolicyRules
from sealgate.trust.policy.shares import in_share
from sealgate.trust.statements import Proposal
from tests.support.builders.documents.people import (
    VERSION_DIGEST,
    PromotionDocuments,
    make_policy,
    refused,
    verified_pointer,
)

POLICY = make_policy(
    rules=PolicyRules({"production": 2, "canary": 1, "shadow": 1}, "block", "flag", 3600, 86400)
)
OFFICE = PromotionDocuments(POLICY)


def verify(approvers: tuple[str, ...], alias: str, share: int) -> None:
    bundle = OFFICE.promotion(approvers, alias=alias, share=share)
    verified_pointer(bundle, first=POLICY)


def test_a_proposal_without_a_share_keeps_its_bytes() -> None:
    proposal = OFFICE.proposal(alias="canary")
    document = canonical.decode(proposal.encode())
    assert "share" not in document
    shared = replace(proposal, share=10)
    assert canonical.decode(shared.encode()) == document | {"share": 10}
    assert Proposal.decode(shared.encode()) == shared


@pytest.mark.parametrize("share", [0, False, None, -1, 101, "10", 10.5])
def test_a_share_in_another_form_is_refused(share: object) -> None:
    document = canonical.decode(OFFICE.proposal(alias="canary").encode())
    with refused(Reason.DOCUMENT_MALFORMED):
        Proposal.decode(canonical.encode(document | {"share": share}))


def test_other_aliases_have_no_share() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        OFFICE.proposal(alias="production", share=10)


def test_who_answers_for_production_needs_as_many_people() -> None:
    """Else whoever may fill `canary` alone could answer all that is asked of production."""
    verify(("anna",), "canary", 0)
    verify(("anna",), "shadow", 100)
    verify(("anna", "arne"), "canary", 1)
    with refused(Reason.APPROVALS_MISSING):
        verify(("anna",), "canary", 1)


def test_a_share_has_about_its_size_and_grows_without_loss() -> None:
    requests = [("canary", "digits", "client", str(number)) for number in range(2000)]
    shares = {
        share: {request for request in requests if in_share(share, VERSION_DIGEST, *request)}
        for share in (0, 10, 50, 100)
    }
    assert not shares[0]
    assert len(shares[100]) == 2000
    assert 120 < len(shares[10]) < 280
    assert 850 < len(shares[50]) < 1150
    assert shares[10] < shares[50]


def test_another_version_draws_others() -> None:
    requests = [("canary", "digits", "client", str(number)) for number in range(200)]
    drawn = [
        [in_share(50, digest, *request) for request in requests]
        for digest in (VERSION_DIGEST, "sha256:" + "2" * 64)
    ]
    assert drawn[0] != drawn[1]


def test_the_draw_is_what_others_can_compute() -> None:
    """First 8 bytes of `printf 'canary\\ndigits\\nclient\\n1' | openssl sha256 -hmac DIGEST`."""
    drawn = int("64dac7b332cb7e66", 16)
    request = ("canary", "digits", "client", "1")
    first = drawn * 100 // (1 << 64)
    assert not in_share(first, VERSION_DIGEST, *request)
    assert in_share(first + 1, VERSION_DIGEST, *request)
