"""Rows that an intruder writes into the database, as the engine sees them.

The intruder here has more than SQL: the freshness service's key, which signs what is live, and one
admin's, who signs pointers. Both together do not put a version into production.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from registry.state import schema
from registry.state.records import ProposalRecord, VersionRecord
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Pointer, PointerBundle, Proposal, sign_statement
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import key, refused
from tests.support.harness.engine_outcomes import BETTER, FILES, PLACE, only, resolved, whole
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import Intruder, engine_of, follow, publish

pytestmark = pytest.mark.slow


class Scene:
    """Version 1 is in production, version 2 is proposed and approved; the engine knows it."""

    def __init__(self, harness: RegistryHarness) -> None:
        self.harness = harness
        self.first = publish(harness, FILES)
        self.live = harness.release(self.first)
        self.second = publish(harness, BETTER)
        self.engine = engine_of(harness)
        assert follow(self.engine, harness).loaded == (PLACE,)
        self.intruder = Intruder(harness.database)

    def approved(self, version: VersionRecord, /, *names: str, **changes: object) -> ProposalRecord:
        proposal = self.harness.propose(version, **({"predecessor": 1} | changes))
        return self.harness.approve(proposal, *(names or ("anna", "arne")))

    def bundle(self, proposal: ProposalRecord, /, **changes: object) -> PointerBundle:
        pointer = self.harness.pointer(proposal, **changes)
        approvals = sorted(
            map(Envelope.decode, proposal.approvals), key=lambda item: item.payload_digest
        )
        signed = sign_statement(pointer, key(pointer.admin))
        return PointerBundle(signed, Envelope.decode(proposal.envelope), tuple(approvals))

    def show(self, bundle: PointerBundle) -> Reason:
        """Write the pointer into the database, declare it fresh, and let the engine look."""
        self.intruder.point(bundle)
        self.intruder.declare_fresh()
        reason = only(follow(self.engine, self.harness))
        assert resolved(self.engine) == 1
        # So does an engine that starts anew, with the same memory.
        assert only(follow(engine_of(self.harness), self.harness)) is reason
        return reason


@pytest.fixture
def scene(tmp_path, database_url):
    harness = RegistryHarness(tmp_path, database_url).found()
    yield Scene(harness)
    harness.registry.close()


def test_what_everybody_signed_is_followed(scene: Scene) -> None:
    """Shows that it is not the intruder's rows as such that the engine refuses."""
    scene.intruder.point(scene.bundle(scene.approved(scene.second)))
    scene.intruder.declare_fresh()
    assert follow(scene.engine, scene.harness).loaded == (PLACE,)
    assert resolved(scene.engine) == 2


def missing_approvals(scene: Scene) -> PointerBundle:
    return scene.bundle(scene.approved(scene.second, "anna"))


def one_person_twice(scene: Scene) -> PointerBundle:
    once = scene.bundle(scene.approved(scene.second, "anna"))
    approval = Approval.decode(once.approvals[0].payload)
    again = sign_statement(replace(approval, meaning="I have read it again."), key("anna"))
    both = tuple(sorted([*once.approvals, again], key=lambda item: item.payload_digest))
    pointer = Pointer.decode(once.pointer.payload)
    pointer = replace(pointer, approvals=tuple(item.payload_digest for item in both))
    return PointerBundle(sign_statement(pointer, key("otto")), once.proposal, both)


def approvals_of_other_evidence(scene: Scene) -> PointerBundle:
    """The approvals are genuine, over a proposal that carries other evidence."""
    whole = scene.bundle(scene.approved(scene.second))
    proposal = Proposal.decode(whole.proposal.payload)
    other = replace(proposal, evidence=((*proposal.evidence[0][:1], "sha256:" + "9" * 64),))
    return _reproposed(whole, other)


def approvals_of_another_alias(scene: Scene) -> PointerBundle:
    whole = scene.bundle(scene.approved(scene.second, alias="canary", predecessor=0))
    proposal = Proposal.decode(whole.proposal.payload)
    return _reproposed(whole, replace(proposal, alias="production", predecessor=1))


def approvals_of_another_version(scene: Scene) -> PointerBundle:
    whole = scene.bundle(scene.approved(scene.second))
    proposal = Proposal.decode(whole.proposal.payload)
    first = scene.first
    return _reproposed(whole, replace(proposal, version=first.version, digest=first.digest))


def the_canarys_pointer(scene: Scene) -> PointerBundle:
    """A whole promotion, of the other alias."""
    bundle = scene.bundle(scene.approved(scene.second, alias="canary", predecessor=0))
    pointer = replace(Pointer.decode(bundle.pointer.payload), alias="production", sequence=2)
    return replace(bundle, pointer=sign_statement(pointer, key("otto")))


def past_not_after(scene: Scene) -> PointerBundle:
    harness = scene.harness
    soon = format_time(harness.now + timedelta(minutes=1))
    proposal = scene.approved(scene.second, not_after=soon)
    return scene.bundle(proposal, time=format_time(harness.now + timedelta(minutes=4)))


def out_of_turn(scene: Scene) -> PointerBundle:
    """A sequence that jumps ahead of its proposal."""
    return scene.bundle(scene.approved(scene.second), sequence=7)


def _reproposed(bundle: PointerBundle, proposal: Proposal) -> PointerBundle:
    """The bundle over another proposal, which its proposer has signed, with the old approvals."""
    pointer = replace(
        Pointer.decode(bundle.pointer.payload),
        proposal=proposal.payload_digest,
        alias=proposal.alias,
        version=proposal.version,
        digest=proposal.digest,
        sequence=proposal.predecessor + 1,
    )
    signed = sign_statement(proposal, key(proposal.proposer))
    return PointerBundle(sign_statement(pointer, key("otto")), signed, bundle.approvals)


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (missing_approvals, Reason.APPROVALS_MISSING),
        (one_person_twice, Reason.APPROVALS_MISSING),
        (approvals_of_other_evidence, Reason.POINTER_INVALID),
        (approvals_of_another_alias, Reason.POINTER_INVALID),
        (approvals_of_another_version, Reason.POINTER_INVALID),
        (the_canarys_pointer, Reason.POINTER_INVALID),
        (past_not_after, Reason.PROPOSAL_EXPIRED),
        (out_of_turn, Reason.POINTER_INVALID),
    ],
    ids=lambda value: getattr(value, "__name__", getattr(value, "name", "")),
)
def test_a_forged_move(
    scene: Scene, forge: Callable[[Scene], PointerBundle], reason: Reason
) -> None:
    assert scene.show(forge(scene)) is reason


def test_an_older_pointer_and_a_fork(scene: Scene) -> None:
    harness, intruder, engine = scene.harness, scene.intruder, scene.engine
    proposal = scene.approved(scene.second)
    genuine = harness.promote(proposal)
    follow(engine, harness)
    assert resolved(engine) == 2
    newest = intruder.copy([schema.POINTERS])
    # The first pointer again, which everybody had signed.
    intruder.delete(schema.POINTERS, schema.POINTERS.c.sequence == genuine.sequence)
    intruder.declare_fresh()
    assert only(follow(engine, harness)) is Reason.SEQUENCE_STALE
    # Another second pointer, over the same approvals.
    intruder.put_back(newest)
    intruder.point(scene.bundle(proposal, reason="a second time"))
    intruder.declare_fresh()
    assert only(follow(engine, harness)) is Reason.SEQUENCE_STALE
    assert only(follow(engine_of(harness), harness)) is Reason.SEQUENCE_STALE
    assert resolved(engine) == 2


def test_a_policy_rolled_back(scene: Scene) -> None:
    harness, intruder = scene.harness, scene.intruder
    harness.accept(expires=format_time(harness.now + timedelta(days=99)))
    follow(scene.engine, harness)
    intruder.delete(schema.POLICIES, schema.POLICIES.c.version == 2)
    intruder.declare_fresh()
    for engine in (scene.engine, engine_of(harness)):
        assert whole(follow(engine, harness)) is Reason.POLICY_ROLLED_BACK
    assert resolved(scene.engine) == 1


def test_a_revocation_deleted(scene: Scene) -> None:
    harness = scene.harness
    harness.revoke(scene.first)
    assert only(follow(scene.engine, harness)) is Reason.VERSION_REVOKED
    scene.intruder.delete(schema.REVOCATIONS)
    scene.intruder.declare_fresh()
    for engine in (scene.engine, engine_of(harness)):
        assert only(follow(engine, harness)) is Reason.VERSION_REVOKED


def moved(scene: Scene) -> None:
    scene.intruder.point(scene.bundle(scene.approved(scene.second)))


def deleted(scene: Scene) -> None:
    scene.intruder.delete(schema.POINTERS)


def altered(scene: Scene) -> None:
    bundle = PointerBundle.decode(scene.live.bundle)
    pointer = replace(Pointer.decode(bundle.pointer.payload), reason="another")
    scene.intruder.point(replace(bundle, pointer=sign_statement(pointer, key("otto"))))


@pytest.mark.parametrize("how", [moved, deleted, altered])
def test_our_own_service_declares_no_such_row_fresh(
    scene: Scene, how: Callable[[Scene], None]
) -> None:
    """Without the freshness key, not even what enough people have signed: it is not in the log."""
    how(scene)
    scene.harness.now += timedelta(minutes=30)
    with refused(Reason.LOG_INCONSISTENT):
        scene.harness.registry.refresh()
    with refused(Reason.LOG_INCONSISTENT):
        scene.harness.revoke(scene.second)
    assert only(follow(scene.engine, scene.harness)) is Reason.POINTER_STALE
    assert resolved(scene.engine) == 1
    with refused(Reason.LOG_INCONSISTENT):
        scene.harness.open()
