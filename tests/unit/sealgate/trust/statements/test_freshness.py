"""Freshness statements, and statements on their own."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.statements import (
    Evidence,
    Pointer,
    Proposal,
    Revocation,
    open_statement,
    sign_statement,
    verify_freshness,
)
from tests.support.builders.documents.people import (
    NOW,
    VERSION_DIGEST,
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
OFFICE = PromotionDocuments(POLICY)
BUNDLE = OFFICE.promotion()


POINTER = Pointer.decode(BUNDLE.pointer.payload)


def test_freshness_ends() -> None:
    envelope = OFFICE.freshness(POINTER)
    verify_freshness(envelope, POLICY, NOW + timedelta(minutes=58, seconds=59))
    with refused(Reason.POINTER_STALE):
        verify_freshness(envelope, POLICY, NOW + timedelta(minutes=59))
    with refused(Reason.POLICY_EXPIRED):
        verify_freshness(envelope, POLICY, NOW + timedelta(days=300))


@pytest.mark.parametrize(
    "changes", [{"expires": at(minutes=60)}, {"issued": at(minutes=6), "expires": at(minutes=9)}]
)
def test_freshness_with_times_that_cannot_be_is_refused(changes: Mapping[str, Any]) -> None:
    with refused(Reason.POINTER_STALE):
        verify_freshness(OFFICE.freshness(POINTER, **changes), POLICY, NOW)


@pytest.mark.parametrize("signer", ["otto", "anna", "mallory"])
def test_freshness_by_another_key_is_refused(signer: str) -> None:
    with refused(Reason.THRESHOLD_NOT_MET):
        verify_freshness(OFFICE.freshness(POINTER, signer=signer), POLICY, NOW)


def test_forged_freshness_is_refused() -> None:
    envelope = OFFICE.freshness(POINTER)
    other = OFFICE.freshness()
    with refused(Reason.SIGNATURE_INVALID):
        verify_freshness(replace(envelope, payload=other.payload), POLICY, NOW)
    with refused(Reason.SIGNATURE_INVALID):
        verify_freshness(BUNDLE.pointer, POLICY, NOW)


def test_revocations_and_evidence_open() -> None:
    revocation = Revocation("digits", 1, VERSION_DIGEST, "it drifts", "otto", at())
    envelope = sign_statement(revocation, key("otto"))
    assert open_statement(envelope, Revocation, POLICY, ("admin",)) == revocation
    with refused(Reason.ROLE_TOO_LOW):
        open_statement(envelope, Revocation, POLICY, ("approver",))
    evidence = Evidence("golden-run", VERSION_DIGEST, "paula", at(), {})
    envelope = sign_statement(evidence, key("paula"))
    assert open_statement(envelope, Evidence, POLICY, ("publisher", "evidence")) == evidence
    with refused(Reason.SIGNATURE_INVALID):
        open_statement(envelope, Proposal, POLICY, ("publisher",))
