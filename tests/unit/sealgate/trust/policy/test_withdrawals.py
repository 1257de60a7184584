"""Keys that a policy has withdrawn: what they signed before, and what is dated back."""

from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, next_policy
from sealgate.trust.policy.validity import NO_WITHDRAWALS, Withdrawal, Withdrawals
from sealgate.trust.statements import PointerBundle, verify_pointer
from tests.support.builders.documents.people import (
    NOW,
    PromotionDocuments,
    key,
    make_policy,
    refused,
    sign_policy,
)

FIRST = make_policy()
OFFICE = PromotionDocuments(FIRST)
BEFORE = OFFICE.promotion()
AFTER = OFFICE.promotion(pointer={"reason": "the thief's"})
STANDS = BEFORE.pointer.payload_digest


def keyid(name: str) -> str:
    return key(name).public.keyid


def without(name: str, *stands: str, since: int = 9) -> Policy:
    """The second policy: `name` is gone, and their key is withdrawn."""
    people = tuple(person for person in FIRST.principals if person.name != name)
    withdrawn = Withdrawals({keyid(name): Withdrawal(since, tuple(sorted(stands)))})
    return replace(FIRST, version=2, principals=people, withdrawn=withdrawn)


def check(bundle: PointerBundle, current: Policy) -> None:
    chain = {FIRST.digest: FIRST, current.digest: current}
    verify_pointer(bundle, chain, current, "peter", NOW)


@pytest.mark.parametrize("name", ["anna", "arne", "otto", "paula"])
def test_what_was_signed_before_stands_and_no_more(name: str) -> None:
    """An approver's key, an admin's, a proposer's: each alone."""
    current = without(name, STANDS)
    check(BEFORE, current)
    with refused(Reason.KEY_WITHDRAWN):
        check(AFTER, current)


@pytest.mark.parametrize("name", ["anna", "otto"])
def test_a_key_that_never_counted(name: str) -> None:
    with refused(Reason.KEY_WITHDRAWN):
        check(BEFORE, without(name, since=0))


def test_a_later_rollback_returns_to_what_stands_alone() -> None:
    current = without("anna", STANDS)
    check(OFFICE.rollback(BEFORE), current)
    with refused(Reason.KEY_WITHDRAWN):
        check(OFFICE.rollback(AFTER), current)
    admin = without("otto", STANDS)
    with refused(Reason.KEY_WITHDRAWN):
        check(OFFICE.rollback(BEFORE), admin)


def test_the_section_reads_back() -> None:
    policy = without("anna", STANDS)
    assert Policy.decode(policy.encode()) == policy
    assert b"withdrawn" not in FIRST.encode()
    assert policy.vouches(keyid("anna"), STANDS)
    assert policy.vouches(keyid("arne"), "sha256:" + "0" * 64)
    assert not policy.vouches(key("mallory").public.keyid, STANDS)


@pytest.mark.parametrize("name", ["anna", "root-1", "mallory"])
def test_only_a_listed_key_of_nobody_is_withdrawn(name: str) -> None:
    with refused(Reason.POLICY_INVALID):
        replace(FIRST, version=2, withdrawn=Withdrawals({keyid(name): Withdrawal(9, ())}))


def test_what_cannot_be_said() -> None:
    with refused(Reason.POLICY_INVALID):
        Withdrawal(0, (STANDS,))
    for wrong in ((-1, ()), (9, ("sha256:x",)), (9, (STANDS, STANDS))):
        with refused(Reason.DOCUMENT_MALFORMED):
            Withdrawal(*wrong)
    with refused(Reason.DOCUMENT_MALFORMED):
        Withdrawal(9, ("sha256:" + "9" * 64, "sha256:" + "1" * 64))
    document = canonical.decode(FIRST.encode())
    with refused(Reason.DOCUMENT_MALFORMED):
        Policy.decode(canonical.encode({**document, "withdrawn": {}}))


def accept(current: Policy, successor: Policy) -> None:
    next_policy(current, Envelope.decode(sign_policy(successor).encode()), NOW)


def test_a_withdrawal_is_never_taken_back() -> None:
    current = without("anna", STANDS)
    later = replace(current, version=3)
    accept(FIRST, current)
    accept(current, later)
    narrower = Withdrawals({keyid("anna"): Withdrawal(4, ())})
    accept(current, replace(later, withdrawn=narrower))
    unlisted = {k: v for k, v in later.keys.items() if k != keyid("anna")}
    accept(current, replace(later, keys=unlisted, withdrawn=NO_WITHDRAWALS))
    wider = Withdrawal(9, tuple(sorted([STANDS, AFTER.pointer.payload_digest])))
    for withdrawn in (
        NO_WITHDRAWALS,
        Withdrawals({keyid("anna"): Withdrawal(10, (STANDS,))}),
        Withdrawals({keyid("anna"): wider}),
    ):
        with refused(Reason.POLICY_INVALID):
            accept(current, replace(later, withdrawn=withdrawn))
