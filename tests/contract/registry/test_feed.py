"""The registry's feed: each entry once, with its record as it was then."""

from registry.audit.feed import FeedChange
from registry.state.records import ModelRecord, PointerRecord, ProposalRecord, VersionRecord
from sealgate.reasons import Reason
from sealgate.trust.transparency.merkle import leaf_hash
from tests.support.builders.documents.people import ANSWER_LOG, refused
from tests.support.harness.registry import RegistryHarness


def told(harness: RegistryHarness) -> list[FeedChange]:
    changes = harness.registry.feed.read(0, harness.registry.log.size())
    return [change for change in changes if change is not None]


def of(harness: RegistryHarness, event: str) -> list[FeedChange]:
    return [change for change in told(harness) if change.event == event]


def test_a_promotion_from_the_policy_to_the_pointer(harness: RegistryHarness) -> None:
    pointer = harness.release(harness.publish())
    changes = told(harness)
    assert [change.entry for change in changes] == sorted({change.entry for change in changes})
    records = {change.event: change.record for change in changes}
    assert list(dict.fromkeys(change.event for change in changes)) == [
        "policy.accepted",
        "model.created",
        "watermark.committed",
        "version.registered",
        "proposal.created",
        "approval.added",
        "pointer.moved",
    ]
    assert isinstance(records["policy.accepted"], bytes)
    assert isinstance(records["model.created"], ModelRecord)
    assert isinstance(records["version.registered"], VersionRecord)
    assert isinstance(records["proposal.created"], ProposalRecord)
    assert isinstance(records["pointer.moved"], PointerRecord)
    assert records["pointer.moved"] == pointer
    moved = changes[-1]
    assert (moved.model, moved.alias) == (pointer.model, pointer.alias)
    assert (moved.entry, moved.principal) == (pointer.entry, pointer.admin)
    assert moved.subject == f"models/{pointer.model}/aliases/{pointer.alias}"


def test_a_record_is_what_it_was_then(harness: RegistryHarness) -> None:
    """Later changes do not alter records that the feed has sent."""
    version = harness.publish()
    harness.release(version)
    before = told(harness)
    harness.revoke(version)
    after = told(harness)
    assert after[: len(before)] == before
    (registered,) = of(harness, "version.registered")
    (revoked,) = of(harness, "version.revoked")
    assert isinstance(registered.record, VersionRecord)
    assert isinstance(revoked.record, VersionRecord)
    assert not registered.record.revocation_reason
    assert revoked.record.revocation_reason


def test_a_withdrawn_bound_is_told_with_its_version(harness: RegistryHarness) -> None:
    version = harness.publish()
    harness.registry.drifts.withdraw("gateway", ANSWER_LOG, version.model, version.version, {})
    (registered,) = of(harness, "version.registered")
    (withdrawn,) = of(harness, "screening.drifted")
    assert isinstance(registered.record, VersionRecord)
    assert isinstance(withdrawn.record, VersionRecord)
    assert not registered.record.screening_withdrawn
    assert withdrawn.record.screening_withdrawn == withdrawn.time
    assert (withdrawn.model, withdrawn.record.version) == (version.model, version.version)


def test_each_change_has_the_hash_of_its_entrys_leaf(harness: RegistryHarness) -> None:
    harness.publish()
    log = harness.registry.log
    assert all(each.leaf_hash == leaf_hash(log.entry(each.entry)) for each in told(harness))


def test_an_approval_is_told_with_its_proposal(harness: RegistryHarness) -> None:
    harness.release(harness.publish())
    (proposed,) = of(harness, "proposal.created")
    approvals = of(harness, "approval.added")
    assert isinstance(proposed.record, ProposalRecord)
    assert proposed.record.approvals == ()
    told_with = [a.record.approvals for a in approvals if isinstance(a.record, ProposalRecord)]
    assert len({approval for one in told_with for approval in one}) == len(approvals) > 1
    assert {(a.model, a.alias) for a in approvals} == {(proposed.model, proposed.alias)}


def test_what_is_about_no_model_is_left_out(harness: RegistryHarness) -> None:
    size = harness.registry.log.size()
    harness.registry.refusals.count("gateway", ANSWER_LOG, {"CREDENTIAL_MISSING": 3})
    assert harness.registry.feed.read(size, size + 1) == (None,)


def test_what_the_log_does_not_have(harness: RegistryHarness) -> None:
    size = harness.registry.log.size()
    with refused(Reason.ENTRY_UNKNOWN):
        harness.registry.feed.read(size, size + 1)
