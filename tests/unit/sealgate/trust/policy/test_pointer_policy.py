"""Pointers under policies that change, and rollbacks."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import PolicyRules
from sealgate.trust.statements import PointerBundle, verify_pointer
from tests.support.builders.documents.people import (
    NOW,
    PromotionDocuments,
    at,
    changed_people,
    key,
    make_policy,
    refused,
    verified_pointer,
)

POLICY = make_policy()
OFFICE = PromotionDocuments(POLICY)
BUNDLE = OFFICE.promotion()


# The policy: the one that was in force, of the chain, its keys still listed.


def test_a_pointer_outlives_its_policy() -> None:
    """Anna has left and three must approve: what two approved in their time still stands."""
    later = replace(
        POLICY,
        version=2,
        principals=tuple(p for p in POLICY.principals if p.name != "anna"),
        rules=PolicyRules({"production": 3}, "block", "flag", 3600, 0),
    )
    verified_pointer(BUNDLE, later)
    with refused(Reason.APPROVALS_MISSING):
        verified_pointer(PromotionDocuments(later).promotion(("arne",)), later)
    with refused(Reason.SIGNER_MISMATCH):
        verified_pointer(PromotionDocuments(later).promotion(("anna", "arne")), later)


@pytest.mark.parametrize("name", ["otto", "paula", "anna", "arne"])
def test_a_withdrawn_key_vouches_for_nothing(name: str) -> None:
    keyid = key(name).public.keyid
    later = replace(
        POLICY,
        version=2,
        keys={k: public for k, public in POLICY.keys.items() if k != keyid},
        principals=changed_people(name, keys=()),
    )
    with refused(Reason.KEY_WITHDRAWN):
        verified_pointer(BUNDLE, later)
    with refused(Reason.KEY_WITHDRAWN):
        verified_pointer(OFFICE.rollback(BUNDLE, admin="guard"), later)


def test_a_policy_that_is_not_of_the_chain_is_refused() -> None:
    lax = make_policy(rules=PolicyRules({"production": 1}, "record", "record", 3600, 0))
    with refused(Reason.POLICY_INVALID):
        verified_pointer(PromotionDocuments(lax).promotion(("anna",)))
    with refused(Reason.POLICY_INVALID):
        verify_pointer(
            PromotionDocuments(lax).promotion(), {lax.digest: POLICY}, POLICY, "paula", NOW
        )


def test_an_expired_policy_admits_nothing() -> None:
    with refused(Reason.POLICY_EXPIRED):
        verified_pointer(BUNDLE, now=NOW + timedelta(days=300))
    short = make_policy(expires=at(minutes=-30))
    later = replace(POLICY, version=2)
    with refused(Reason.POLICY_EXPIRED):
        verified_pointer(PromotionDocuments(short).promotion(), later, first=short)


def test_times_that_cannot_be_are_refused() -> None:
    verified_pointer(OFFICE.promotion(pointer={"time": at(minutes=5)}))
    for time in (at(minutes=6), at(days=-11)):
        with refused(Reason.POINTER_INVALID):
            verified_pointer(OFFICE.promotion(pointer={"time": time}))


# Rollbacks.


@pytest.mark.parametrize("admin", ["otto", "guard"])
def test_one_signature_is_enough_for_a_rollback(admin: str) -> None:
    pointer = verified_pointer(OFFICE.rollback(BUNDLE, admin=admin))
    assert (pointer.action, pointer.sequence, pointer.version) == ("rollback", 3, 1)


@pytest.mark.parametrize("admin", ["anna", "paula", "fresh"])
def test_a_rollback_of_who_may_not_is_refused(admin: str) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        verified_pointer(OFFICE.rollback(BUNDLE, admin=admin))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"digest": "sha256:" + "9" * 64},
        {"model": "faces"},
        {"alias": "canary"},
        {"sequence": 1},
        {"returns_to": "sha256:" + "9" * 64},
        {"approvals": ()},
        {"proposal": "sha256:" + "9" * 64},
    ],
)
def test_a_rollback_to_what_was_never_live_is_refused(changes: Mapping[str, Any]) -> None:
    with refused(Reason.ROLLBACK_TARGET):
        verified_pointer(OFFICE.rollback(BUNDLE, **changes))


def test_a_rollback_must_show_what_it_returns_to() -> None:
    with refused(Reason.ROLLBACK_TARGET):
        verified_pointer(replace(OFFICE.rollback(BUNDLE), returned=None))


def test_a_promotion_returns_to_nothing() -> None:
    with refused(Reason.POINTER_INVALID):
        verified_pointer(PointerBundle.rollback(BUNDLE.pointer, BUNDLE))


def test_a_rollback_to_an_unapproved_promotion_is_refused() -> None:
    with refused(Reason.APPROVALS_MISSING):
        verified_pointer(OFFICE.rollback(OFFICE.promotion(("anna",))))
    with refused(Reason.SELF_APPROVAL):
        verified_pointer(OFFICE.rollback(BUNDLE), publisher="anna")
