"""Pointers under policies that change, and rollbacks."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy, PolicyRules, Principal
from sealgate.trust.statements import Pointer, PointerBundle, verify_pointer
from tests.support.builders.documents.people import (
    NOW,
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
OFFICE = PromotionDocuments(POLICY)
BUNDLE = OFFICE.promotion()


def verify(
    bundle: PointerBundle,
    *later: Policy,
    publisher: str = "paula",
    now: datetime = NOW,
    first: Policy = POLICY,
) -> Pointer:
    chain = {policy.digest: policy for policy in (first, *later)}
    return verify_pointer(bundle, chain, (first, *later)[-1], publisher, now)


def changed(name: str, **changes: Any) -> tuple[Principal, ...]:
    """The organisation's people, one of them changed."""
    return tuple(replace(p, **changes) if p.name == name else p for p in POLICY.principals)


# The policy: the one that was in force, of the chain, its keys still listed.


def test_a_pointer_outlives_its_policy() -> None:
    """Anna has left and three must approve: what two approved in their time still stands."""
    later = replace(
        POLICY,
        version=2,
        principals=tuple(p for p in POLICY.principals if p.name != "anna"),
        rules=PolicyRules({"production": 3}, "block", "flag", 3600, 0),
    )
    verify(BUNDLE, later)
    with refused(Reason.APPROVALS_MISSING):
        verify(PromotionDocuments(later).promotion(("arne",)), later)
    with refused(Reason.SIGNER_MISMATCH):
        verify(PromotionDocuments(later).promotion(("anna", "arne")), later)


@pytest.mark.parametrize("name", ["otto", "paula", "anna", "arne"])
def test_a_withdrawn_key_vouches_for_nothing(name: str) -> None:
    keyid = key(name).public.keyid
    later = replace(
        POLICY,
        version=2,
        keys={k: public for k, public in POLICY.keys.items() if k != keyid},
        principals=changed(name, keys=()),
    )
    with refused(Reason.KEY_WITHDRAWN):
        verify(BUNDLE, later)
    with refused(Reason.KEY_WITHDRAWN):
        verify(OFFICE.rollback(BUNDLE, admin="guard"), later)


def test_a_policy_that_is_not_of_the_chain_is_refused() -> None:
    lax = make_policy(rules=PolicyRules({"production": 1}, "record", "record", 3600, 0))
    with refused(Reason.POLICY_INVALID):
        verify(PromotionDocuments(lax).promotion(("anna",)))
    with refused(Reason.POLICY_INVALID):
        verify_pointer(
            PromotionDocuments(lax).promotion(), {lax.digest: POLICY}, POLICY, "paula", NOW
        )


def test_an_expired_policy_admits_nothing() -> None:
    with refused(Reason.POLICY_EXPIRED):
        verify(BUNDLE, now=NOW + timedelta(days=300))
    short = make_policy(expires=at(minutes=-30))
    later = replace(POLICY, version=2)
    with refused(Reason.POLICY_EXPIRED):
        verify(PromotionDocuments(short).promotion(), later, first=short)


def test_times_that_cannot_be_are_refused() -> None:
    verify(OFFICE.promotion(pointer={"time": at(minutes=5)}))
    for time in (at(minutes=6), at(days=-11)):
        with refused(Reason.POINTER_INVALID):
            verify(OFFICE.promotion(pointer={"time": time}))


# Rollbacks.


@pytest.mark.parametrize("admin", ["otto", "guard"])
def test_one_signature_is_enough_for_a_rollback(admin: str) -> None:
    pointer = verify(OFFICE.rollback(BUNDLE, admin=admin))
    assert (pointer.action, pointer.sequence, pointer.version) == ("rollback", 3, 1)


@pytest.mark.parametrize("admin", ["anna", "paula", "fresh"])
def test_a_rollback_of_who_may_not_is_refused(admin: str) -> None:
    with refused(Reason.ROLE_TOO_LOW):
        verify(OFFICE.rollback(BUNDLE, admin=admin))


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
        verify(OFFICE.rollback(BUNDLE, **changes))


def test_a_rollback_must_show_what_it_returns_to() -> None:
    with refused(Reason.ROLLBACK_TARGET):
        verify(replace(OFFICE.rollback(BUNDLE), returned=None))


def test_a_promotion_returns_to_nothing() -> None:
    with refused(Reason.POINTER_INVALID):
        verify(PointerBundle.rollback(BUNDLE.pointer, BUNDLE))


def test_a_rollback_to_an_unapproved_promotion_is_refused() -> None:
    with refused(Reason.APPROVALS_MISSING):
        verify(OFFICE.rollback(OFFICE.promotion(("anna",))))
    with refused(Reason.SELF_APPROVAL):
        verify(OFFICE.rollback(BUNDLE), publisher="anna")
