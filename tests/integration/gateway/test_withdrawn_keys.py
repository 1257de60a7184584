"""Keys that are withdrawn while a registry and an engine run: by their place in the log.

Statements that a key signed before its withdrawal stay valid. Its thief's later ones, dated back,
do not count, though the thief has the freshness key and the database too.
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
from tests.support.builders.documents.people import ANSWER_LOG, key, p256_key, refused
from tests.support.harness.engine_outcomes import BETTER, FILES, PLACE, only, resolved
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import Intruder, engine_of, follow, publish


@pytest.fixture
def harness(tmp_path, database_url):
    harness = RegistryHarness(tmp_path, database_url).found()
    yield harness
    harness.registry.close()


def withdraw(harness: RegistryHarness, name: str, since: int, *stands: str) -> Policy:
    """A policy in which nobody is `name` any more; all of their keys are withdrawn."""
    keys = harness.policy.principal(name).keys
    people = tuple(person for person in harness.policy.principals if person.name != name)
    withdrawal = Withdrawal(since, tuple(sorted(stands)))
    withdrawn = Withdrawals(dict.fromkeys(keys, withdrawal))
    return harness.accept(principals=people, withdrawn=withdrawn)


@pytest.mark.parametrize("name", ["anna", "otto", "paula"])
def test_what_stands_goes_on_answering(harness: RegistryHarness, name: str) -> None:
    """An approver, an admin, and the publisher, whose key signed the version's files too."""
    version = publish(harness, FILES)
    live = harness.release(version)
    engine = engine_of(harness)
    assert follow(engine, harness).loaded == (PLACE,)
    now = harness.registry.log.size()
    withdraw(harness, name, now, live.digest, version.digest)
    assert not follow(engine, harness).rejected
    assert resolved(engine) == 1
    assert follow(engine_of(harness), harness).loaded == (PLACE,)


@pytest.mark.parametrize("name", ["anna", "otto", "paula"])
def test_a_compromised_key_takes_with_it_what_it_signed(
    harness: RegistryHarness, name: str
) -> None:
    first = harness.release(publish(harness, FILES))
    harness.release(publish(harness, BETTER), predecessor=1)
    engine = engine_of(harness)
    follow(engine, harness)
    withdraw(harness, name, 0)
    reason = Reason.SIGNER_MISMATCH if name == "paula" else Reason.KEY_WITHDRAWN
    for running in (engine, engine_of(harness)):
        assert only(follow(running, harness)) is reason
        assert resolved(running) is Reason.VERSION_NOT_LIVE
    with refused(Reason.KEY_WITHDRAWN):
        harness.roll_back(first, 3, admin="otto" if name != "otto" else "guard")


def test_a_thief_who_dates_back(harness: RegistryHarness) -> None:
    """The withdrawn approver's key, an admin's, the freshness key and the database together."""
    live = harness.release(publish(harness, FILES))
    second = publish(harness, BETTER)
    proposal = harness.approve(harness.propose(second, predecessor=1), "anna", "arne")
    withdraw(harness, "anna", harness.registry.log.size(), live.digest)
    engine = engine_of(harness)
    follow(engine, harness)
    with refused(Reason.POLICY_ROLLED_BACK):
        harness.promote(proposal)
    intruder = Intruder(harness.database)
    approvals = sorted(map(Envelope.decode, proposal.approvals), key=lambda e: e.payload_digest)
    signed = sign_statement(harness.pointer(proposal), key("otto"))
    bundle = PointerBundle(signed, Envelope.decode(proposal.envelope), tuple(approvals))
    intruder.point(bundle)
    intruder.declare_fresh()
    assert only(follow(engine, harness)) is Reason.KEY_WITHDRAWN
    assert resolved(engine) == 1


def test_a_retired_key_that_is_listed_still(harness: RegistryHarness) -> None:
    """Its earlier signatures stand without being named; a later one has no place in the log."""
    harness.release(publish(harness, FILES))
    proposal = harness.approve(
        harness.propose(publish(harness, BETTER), predecessor=1), "anna", "arne"
    )
    harness.accept(
        principals=tuple(person for person in harness.policy.principals if person.name != "anna")
    )
    engine = engine_of(harness)
    assert follow(engine, harness).loaded == (PLACE,)
    with refused(Reason.POLICY_ROLLED_BACK):
        harness.promote(proposal)
    pointer = replace(harness.pointer(proposal), reason="dated back")
    bundle = PointerBundle(
        sign_statement(pointer, key("otto")),
        Envelope.decode(proposal.envelope),
        tuple(sorted(map(Envelope.decode, proposal.approvals), key=lambda e: e.payload_digest)),
    )
    Intruder(harness.database).point(bundle)
    harness.now += timedelta(minutes=30)
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.refresh()
    assert only(follow(engine, harness)) is Reason.POINTER_STALE
    assert Pointer.decode(bundle.pointer.payload).reason == "dated back"


def test_what_stands_must_be_in_the_log_before(harness: RegistryHarness) -> None:
    version = publish(harness, FILES)
    live = harness.release(version)
    for since, digest in ((live.entry, live.digest), (99, "sha256:" + "9" * 64)):
        with refused(Reason.POLICY_INVALID):
            withdraw(harness, "anna", since, digest)
    assert harness.registry.policies.chain().newest.version == 1
    withdraw(harness, "anna", live.entry + 1, live.digest, version.digest)


def test_the_freshness_service_gets_another_key(harness: RegistryHarness) -> None:
    """A statement by the old key is no statement any more, at once."""
    harness.release(publish(harness, FILES))
    fresh = harness.policy.principal("fresh")
    renewed = replace(fresh, keys=(key("fresh-2").public.keyid,))
    people = tuple(renewed if person == fresh else person for person in harness.policy.principals)
    keys = {**harness.policy.keys, key("fresh-2").public.keyid: key("fresh-2").public}
    with refused(Reason.POLICY_INVALID):
        harness.accept(principals=people, keys=keys)
    both = replace(fresh, keys=(*fresh.keys, key("fresh-2").public.keyid))
    harness.accept(
        principals=tuple(both if p == fresh else p for p in harness.policy.principals), keys=keys
    )
    engine = engine_of(harness)
    assert follow(engine, harness).loaded == (PLACE,)


def test_an_answer_log_gets_another_key_with_another_origin(harness: RegistryHarness) -> None:
    """The old one's line stays in the policy: its receipts and anchors go on verifying."""
    second = vkey("example.org/answers-2", PrivateKey.generate().public)
    policy = harness.accept(answer_logs=(*harness.policy.answer_logs, second))
    assert policy.log_key("example.org/answers-2") == second
    assert policy.log_key(ANSWER_LOG) == vkey(ANSWER_LOG, key("answer-log").public)
    with refused(Reason.POLICY_INVALID):
        harness.accept(answer_logs=(*policy.answer_logs, vkey(ANSWER_LOG, key("other").public)))
    gone = harness.accept(answer_logs=(second,))
    with refused(Reason.LOG_UNKNOWN):
        gone.log_key(ANSWER_LOG)
    assert p256_key("paula").public.keyid in gone.keys
