"""A request that is repeated is answered again and carried out once; a stale etag is refused."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from registry.audit.erasures import PlannedErasure
from registry.state.schema import REQUESTS
from registry.state.unit_of_work import KEPT, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.receipts.answer_entry import pseudonym
from sealgate.trust.statements import Approval, Revocation, oms, sign_statement
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    NOW,
    key,
    p256_key,
    refused,
    sign_policy,
)
from tests.support.harness.registry import RegistryHarness, version_files

Change = Callable[["RequestKey | None"], Any]


def new_once(request: str = "this") -> RequestKey:
    return RequestKey(str(uuid.uuid4()), sha256(request.encode()))


def register(harness: RegistryHarness) -> Change:
    manifest = harness.upload(version_files())
    evidence, commitment = [harness.evidence(manifest)], harness.commitment()
    signature = oms.sign(manifest, p256_key("paula"))
    return lambda once: harness.registry.versions.register(
        "paula", "digits", manifest.encode(), signature, evidence, commitment, once
    )


def propose(harness: RegistryHarness) -> Change:
    proposal = sign_statement(harness.proposal(harness.publish()), key("paula")).encode()
    return lambda once: harness.registry.proposals.create("paula", proposal, once)


def approve(harness: RegistryHarness) -> Change:
    digest = harness.propose(harness.publish()).digest
    approval = Approval(digest, "anna", "I have read it.", format_time(NOW))
    envelope = sign_statement(approval, key("anna")).encode()
    return lambda once: harness.registry.proposals.approve("anna", envelope, once)


def promote(harness: RegistryHarness) -> Change:
    proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
    envelope = sign_statement(harness.pointer(proposal), key("otto")).encode()
    return lambda once: harness.registry.pointers.promote("otto", envelope, once)


def roll_back(harness: RegistryHarness) -> Change:
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    pointer = harness.return_to(first, 3)
    envelope = sign_statement(pointer, key("otto")).encode()
    return lambda once: harness.registry.pointers.rollback("otto", envelope, once)


def revoke(harness: RegistryHarness) -> Change:
    version = harness.publish()
    revocation = Revocation("digits", 1, version.digest, "It leaks.", "otto", format_time(NOW))
    envelope = sign_statement(revocation, key("otto")).encode()
    return lambda once: harness.registry.revocations.revoke("otto", envelope, once)


def create_model(harness: RegistryHarness) -> Change:
    return lambda once: harness.registry.models.create("paula", "letters", once)


def commit(harness: RegistryHarness) -> Change:
    return lambda once: harness.registry.models.commit_watermark(
        "paula", "digits", sha256(b"key"), once
    )


def create_key(harness: RegistryHarness) -> Change:
    """Each attempt comes with another key, as a gateway makes it."""
    return lambda once: harness.registry.api_keys.create(
        "otto", uuid.uuid4().hex[:12], "carla", "", NOW + timedelta(days=7), "d" * 64, once
    )


def revoke_key(harness: RegistryHarness) -> Change:
    made = create_key(harness)(None)
    return lambda once: harness.registry.api_keys.revoke("otto", made.key_id, "leaked", once)


def accept(harness: RegistryHarness) -> Change:
    envelope = sign_policy(replace(harness.policy, version=2)).encode()
    return lambda once: harness.registry.policies.accept("otto", envelope, once)


def erase(harness: RegistryHarness) -> Change:
    """Each attempt comes with another pseudonym, as a gateway makes it."""
    return lambda once: harness.registry.erasures.add(
        "otto",
        ANSWER_LOG,
        pseudonym("patient-4711", uuid.uuid4().bytes),
        PlannedErasure(3, 10, "f" * 64),
        once,
    )


CHANGES = [
    create_model,
    commit,
    register,
    propose,
    approve,
    promote,
    roll_back,
    revoke,
    create_key,
    revoke_key,
    accept,
    erase,
]


@pytest.mark.parametrize("prepare", CHANGES)
def test_a_repeated_request_is_answered_and_changes_nothing(
    harness: RegistryHarness, prepare: Callable[[RegistryHarness], Change]
) -> None:
    change, once = prepare(harness), new_once()
    first = change(once)
    size = harness.registry.log.size()
    assert change(once) == first
    # Another process of the registry knows it too.
    harness.reopen()
    assert change(once) == first
    assert harness.registry.log.size() == size
    harness.registry.verify()


@pytest.mark.parametrize("prepare", CHANGES)
def test_an_id_stands_for_one_request(
    harness: RegistryHarness, prepare: Callable[[RegistryHarness], Change]
) -> None:
    change, once = prepare(harness), new_once()
    harness.registry.models.create("paula", "faces", once)
    harness.registry.models.create("otto", "graphs", once)
    harness.registry.models.create("anna", "hands", once)
    size = harness.registry.log.size()
    with refused(Reason.REQUEST_ID_REUSED):
        change(RequestKey(once.request_id, sha256(b"that")))
    assert harness.registry.log.size() == size


@pytest.mark.parametrize("prepare", [promote, roll_back])
def test_the_first_answer_is_given_after_later_moves(
    harness: RegistryHarness, prepare: Callable[[RegistryHarness], Change]
) -> None:
    change, once = prepare(harness), new_once()
    first = change(once)
    harness.release(harness.publish("later"), predecessor=first.sequence)
    assert change(once) == first


def test_ids_are_each_callers_own(harness: RegistryHarness) -> None:
    once = new_once()
    harness.registry.models.create("paula", "letters", once)
    harness.registry.models.create("peter", "faces", once)
    assert harness.registry.models.get("faces").creator == "peter"


def test_what_was_refused_may_be_asked_again_under_its_id(harness: RegistryHarness) -> None:
    once = new_once()
    with refused(Reason.MODEL_EXISTS):
        harness.registry.models.create("paula", "digits", once)
    harness.registry.models.create("paula", "letters", RequestKey(once.request_id, sha256(b"that")))


def test_repeated_requests_at_once(harness: RegistryHarness) -> None:
    change, once = create_key(harness), new_once()
    size = harness.registry.log.size()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(change(once))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len({answer.key_id for answer in answers}) == 1
    assert harness.registry.log.size() == size + 1


def test_requests_are_forgotten_after_a_day(harness: RegistryHarness) -> None:
    first = new_once()
    harness.registry.models.create("paula", "letters", first)
    harness.now = NOW + KEPT
    harness.registry.models.create("paula", "letters", first)
    harness.registry.models.create("paula", "faces", new_once())
    assert kept(harness) == 2
    harness.now += timedelta(seconds=1)
    harness.registry.models.create("paula", "graphs", new_once())
    assert kept(harness) == 2
    with refused(Reason.MODEL_EXISTS):
        harness.registry.models.create("paula", "letters", first)


def kept(harness: RegistryHarness) -> int:
    with harness.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(REQUESTS)) or 0


def test_uploads_that_are_done_are_known_before_their_files(harness: RegistryHarness) -> None:
    once, versions = new_once(), harness.registry.versions
    assert versions.done("paula", once) is None
    first = register(harness)(once)
    assert versions.done("paula", once) == first
    assert versions.done("peter", once) is None
    assert versions.done("paula", None) is None
    with refused(Reason.REQUEST_ID_REUSED):
        versions.done("paula", RequestKey(once.request_id, sha256(b"that")))


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "00000000-0000-0000-0000-000000000000",
        "9C5B94B1-35AD-49BB-B118-8E8FC24ABF80",
        "{9c5b94b1-35ad-49bb-b118-8e8fc24abf80}",
        "9c5b94b1-35ad-19bb-b118-8e8fc24abf80",
        "9c5b94b1-35ad-49bb-b118-8e8fc24abf80\n",
    ],
)
def test_ids_that_are_no_uuid4(text: str) -> None:
    with refused(Reason.PARAMETER_MALFORMED):
        RequestKey(text, sha256(b""))


def test_two_admins_who_saw_the_same_pointer(harness: RegistryHarness) -> None:
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    pointers = harness.registry.pointers
    seen = pointers.get("digits", "production").etag
    rollback = sign_statement(harness.return_to(first, 3), key("otto")).encode()
    moved = pointers.rollback("otto", rollback, etag=seen)
    assert moved.etag != seen
    # The other one's pointer is the next in sequence, made after a look at the number alone.
    late = sign_statement(harness.return_to(first, 4, admin="guard"), key("guard")).encode()
    with refused(Reason.ETAG_STALE):
        pointers.rollback("guard", late, etag=seen)
    assert pointers.get("digits", "production") == moved


def test_an_etag_of_an_alias_that_has_none(harness: RegistryHarness) -> None:
    proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
    envelope = sign_statement(harness.pointer(proposal), key("otto")).encode()
    with refused(Reason.ETAG_STALE):
        harness.registry.pointers.promote("otto", envelope, etag='"0"')
    harness.registry.pointers.promote("otto", envelope)


def test_two_admins_who_revoke_what_they_saw(harness: RegistryHarness) -> None:
    version = harness.publish()
    seen = harness.registry.versions.get("digits", 1).etag
    assert seen == version.etag

    def attempt(reason: str) -> Any:
        revocation = Revocation("digits", 1, version.digest, reason, "otto", format_time(NOW))
        envelope = sign_statement(revocation, key("otto")).encode()
        return harness.registry.revocations.revoke("otto", envelope, etag=seen)

    outcomes: list[Any] = []

    def run(reason: str) -> None:
        try:
            outcomes.append(attempt(reason).revocation_reason)
        except SealgateError as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=run, args=(f"reason {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Reason.ETAG_STALE) == 2
    after = harness.registry.versions.get("digits", 1)
    assert after.etag != seen
    assert after.revocation_reason in outcomes


def test_two_admins_who_bring_a_policy(harness: RegistryHarness) -> None:
    policies, seen = harness.registry.policies, harness.registry.policies.chain().etag
    second = sign_policy(replace(harness.policy, version=2)).encode()
    with refused(Reason.ETAG_STALE):
        policies.accept("otto", second, etag='"0"')
    policies.accept("otto", second, etag=seen)
    third = sign_policy(replace(harness.policy, version=3)).encode()
    with refused(Reason.ETAG_STALE):
        policies.accept("guard", third, etag=seen)
    assert policies.current().version == 2
