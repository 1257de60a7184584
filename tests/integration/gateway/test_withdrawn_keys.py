"""Keys that are withdrawn while a registry and an engine run: by their place in the log.

What a key signed before it was withdrawn stands; what its thief signs afterwards, dated back, does
not, though the thief has the freshness key and the database too.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import Withdrawal, Withdrawals
from sealgate.trust.statements import Pointer, PointerBundle, sign_statement
from sealgate.trust.transparency.note import vkey
from tests.support.bureau import Bureau
from tests.support.engine_outcomes import BETTER, FILES, PLACE, only, resolved
from tests.support.intruder import Intruder, engine_of, follow, publish
from tests.support.people import ANSWER_LOG, key, p256_key, refused


@pytest.fixture
def bureau(tmp_path, database_url):
    bureau = Bureau(tmp_path, database_url).found()
    yield bureau
    bureau.registry.close()


def withdraw(bureau: Bureau, name: str, since: int, *stands: str) -> Policy:
    """A policy in which nobody is `name` any more; all of their keys are withdrawn."""
    keys = bureau.policy.principal(name).keys
    people = tuple(person for person in bureau.policy.principals if person.name != name)
    withdrawal = Withdrawal(since, tuple(sorted(stands)))
    withdrawn = Withdrawals(dict.fromkeys(keys, withdrawal))
    return bureau.accept(principals=people, withdrawn=withdrawn)


@pytest.mark.parametrize("name", ["anna", "otto", "paula"])
def test_what_stands_goes_on_answering(bureau: Bureau, name: str) -> None:
    """An approver, an admin, and the publisher, whose key signed the version's files too."""
    version = publish(bureau, FILES)
    live = bureau.release(version)
    engine = engine_of(bureau)
    assert follow(engine, bureau).loaded == (PLACE,)
    now = bureau.registry.log.size()
    withdraw(bureau, name, now, live.digest, version.digest)
    assert not follow(engine, bureau).rejected
    assert resolved(engine) == 1
    assert follow(engine_of(bureau), bureau).loaded == (PLACE,)


@pytest.mark.parametrize("name", ["anna", "otto", "paula"])
def test_a_compromised_key_takes_with_it_what_it_signed(bureau: Bureau, name: str) -> None:
    first = bureau.release(publish(bureau, FILES))
    bureau.release(publish(bureau, BETTER), predecessor=1)
    engine = engine_of(bureau)
    follow(engine, bureau)
    withdraw(bureau, name, 0)
    reason = Reason.SIGNER_MISMATCH if name == "paula" else Reason.KEY_WITHDRAWN
    for running in (engine, engine_of(bureau)):
        assert only(follow(running, bureau)) is reason
        assert resolved(running) is Reason.VERSION_NOT_LIVE
    with refused(Reason.KEY_WITHDRAWN):
        bureau.roll_back(first, 3, admin="otto" if name != "otto" else "guard")


def test_a_thief_who_dates_back(bureau: Bureau) -> None:
    """The withdrawn approver's key, an admin's, the freshness key and the database together."""
    live = bureau.release(publish(bureau, FILES))
    second = publish(bureau, BETTER)
    proposal = bureau.approve(bureau.propose(second, predecessor=1), "anna", "arne")
    withdraw(bureau, "anna", bureau.registry.log.size(), live.digest)
    engine = engine_of(bureau)
    follow(engine, bureau)
    with refused(Reason.POLICY_ROLLED_BACK):
        bureau.promote(proposal)
    intruder = Intruder(bureau.database)
    approvals = sorted(map(Envelope.decode, proposal.approvals), key=lambda e: e.payload_digest)
    signed = sign_statement(bureau.pointer(proposal), key("otto"))
    bundle = PointerBundle(signed, Envelope.decode(proposal.envelope), tuple(approvals))
    intruder.point(bundle)
    intruder.declare_fresh()
    assert only(follow(engine, bureau)) is Reason.KEY_WITHDRAWN
    assert resolved(engine) == 1


def test_a_retired_key_that_is_listed_still(bureau: Bureau) -> None:
    """Its earlier signatures stand without being named; a later one has no place in the log."""
    bureau.release(publish(bureau, FILES))
    proposal = bureau.approve(
        bureau.propose(publish(bureau, BETTER), predecessor=1), "anna", "arne"
    )
    bureau.accept(
        principals=tuple(person for person in bureau.policy.principals if person.name != "anna")
    )
    engine = engine_of(bureau)
    assert follow(engine, bureau).loaded == (PLACE,)
    with refused(Reason.POLICY_ROLLED_BACK):
        bureau.promote(proposal)
    pointer = replace(bureau.pointer(proposal), reason="dated back")
    bundle = PointerBundle(
        sign_statement(pointer, key("otto")),
        Envelope.decode(proposal.envelope),
        tuple(sorted(map(Envelope.decode, proposal.approvals), key=lambda e: e.payload_digest)),
    )
    Intruder(bureau.database).point(bundle)
    bureau.now += timedelta(minutes=30)
    with refused(Reason.LOG_INCONSISTENT):
        bureau.registry.refresh()
    assert only(follow(engine, bureau)) is Reason.POINTER_STALE
    assert Pointer.decode(bundle.pointer.payload).reason == "dated back"


def test_what_stands_must_be_in_the_log_before(bureau: Bureau) -> None:
    version = publish(bureau, FILES)
    live = bureau.release(version)
    for since, digest in ((live.entry, live.digest), (99, "sha256:" + "9" * 64)):
        with refused(Reason.POLICY_INVALID):
            withdraw(bureau, "anna", since, digest)
    assert bureau.registry.policies.chain().newest.version == 1
    withdraw(bureau, "anna", live.entry + 1, live.digest, version.digest)


def test_the_freshness_service_gets_another_key(bureau: Bureau) -> None:
    """A statement by the old key is no statement any more, at once."""
    bureau.release(publish(bureau, FILES))
    fresh = bureau.policy.principal("fresh")
    renewed = replace(fresh, keys=(key("fresh-2").public.keyid,))
    people = tuple(renewed if person == fresh else person for person in bureau.policy.principals)
    keys = {**bureau.policy.keys, key("fresh-2").public.keyid: key("fresh-2").public}
    with refused(Reason.POLICY_INVALID):
        bureau.accept(principals=people, keys=keys)
    both = replace(fresh, keys=(*fresh.keys, key("fresh-2").public.keyid))
    bureau.accept(
        principals=tuple(both if p == fresh else p for p in bureau.policy.principals), keys=keys
    )
    engine = engine_of(bureau)
    assert follow(engine, bureau).loaded == (PLACE,)


def test_an_answer_log_gets_another_key_with_another_origin(bureau: Bureau) -> None:
    """The old one's line stays in the policy: its receipts and anchors go on verifying."""
    second = vkey("example.org/answers-2", PrivateKey.generate().public)
    policy = bureau.accept(answer_logs=(*bureau.policy.answer_logs, second))
    assert policy.log_key("example.org/answers-2") == second
    assert policy.log_key(ANSWER_LOG) == vkey(ANSWER_LOG, key("answer-log").public)
    with refused(Reason.POLICY_INVALID):
        bureau.accept(answer_logs=(*policy.answer_logs, vkey(ANSWER_LOG, key("other").public)))
    gone = bureau.accept(answer_logs=(second,))
    with refused(Reason.LOG_UNKNOWN):
        gone.log_key(ANSWER_LOG)
    assert p256_key("paula").public.keyid in gone.keys
