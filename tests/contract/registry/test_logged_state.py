"""A gateway serves what the log says: rows that are edited, forged, deleted or put back change
nothing, and a change that the database undoes fails.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table

from registry.answers.answer_log import AnswerLog
from registry.credentials.api_keys import ApiKeyRecord
from registry.state import schema
from registry.state.unit_of_work import RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, StepUpRule
from sealgate.trust.statements import Freshness, sign_statement
from tests.support.builders.documents.allowances import an_allowance, held
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import Intruder

KEY_ID, OTHER_ID, DIGEST = "0123456789ab", "ba9876543210", "d" * 64
EVERYTHING = list(schema.METADATA.sorted_tables)


def create(harness: RegistryHarness, key_id: str = KEY_ID) -> ApiKeyRecord:
    expires = NOW + timedelta(days=7)
    return harness.registry.api_keys.create("otto", key_id, "carla", "", expires, DIGEST)


def revoke(harness: RegistryHarness, once: RequestKey | None = None) -> ApiKeyRecord:
    return harness.registry.api_keys.revoke("otto", KEY_ID, "leaked", once)


@pytest.fixture
def intruder(harness: RegistryHarness) -> Intruder:
    return Intruder(harness.database)


class TestApiKeys:
    def test_a_deleted_revocation_revives_no_key(
        self, harness: RegistryHarness, intruder: Intruder
    ) -> None:
        create(harness)
        revoke(harness)
        intruder.delete(schema.API_KEY_REVOCATIONS)
        assert KEY_ID in harness.registry.logged().key_revocations
        # People see it too.
        (listed,) = harness.registry.api_keys.list().records
        assert (listed.revoker, listed.reason) == ("otto", "leaked")
        with refused(Reason.API_KEY_ENDED):
            revoke(harness)

    def test_a_row_put_in_again_revives_no_key(
        self, harness: RegistryHarness, intruder: Intruder
    ) -> None:
        create(harness)
        before = intruder.copy([schema.API_KEYS, schema.API_KEY_REVOCATIONS])
        revoke(harness)
        intruder.put_back(before)
        assert KEY_ID in harness.registry.logged().key_revocations

    def test_a_forged_row_makes_no_key(self, harness: RegistryHarness, intruder: Intruder) -> None:
        create(harness)
        intruder.update(schema.API_KEYS, key_id=OTHER_ID, holder="otto")
        assert list(harness.registry.logged().api_keys) == [KEY_ID]
        assert harness.registry.logged().api_keys[KEY_ID].holder == "carla"
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.api_keys.list()

    def test_a_deleted_row_hides_no_key(self, harness: RegistryHarness, intruder: Intruder) -> None:
        """The key is valid all the same, and an admin must be able to revoke it."""
        create(harness)
        create(harness, OTHER_ID)
        intruder.delete(schema.API_KEYS, schema.API_KEYS.c.key_id == KEY_ID)
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.api_keys.list()
        with pytest.raises(SealgateError):
            revoke(harness)

    def test_an_older_database_is_not_followed(
        self, harness: RegistryHarness, intruder: Intruder
    ) -> None:
        create(harness)
        before = intruder.copy(EVERYTHING)
        revoke(harness)
        intruder.put_back(before)
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.logged()
        # Nor is what others add to it.
        second = harness.open()
        second.models.create("paula", "faces")
        second.models.create("paula", "names")
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.logged()
        second.close()

    def test_a_revocation_that_was_remembered_but_never_made(
        self, harness: RegistryHarness, intruder: Intruder
    ) -> None:
        """The table of repeated requests is no part of the record: anyone may have written it."""
        create(harness)
        once = RequestKey("6f1c2b9e-33a4-4d7e-8a57-0c1f5a1b2c3d", "sha256:" + "1" * 64)
        with harness.database.writing() as connection:
            row = {"principal": "otto", "request_id": once.request_id, "digest": once.digest}
            row |= {"entry": 0, "time": "2026-11-25T10:00:00Z"}
            connection.execute(schema.REQUESTS.insert(), row)
            connection.commit()
        with refused(Reason.LOG_INCONSISTENT):
            revoke(harness, once)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "table",
    [schema.API_KEY_REVOCATIONS, schema.LOG.leaves, schema.LOG.checkpoints],
    ids=lambda table: table.name,
)
def test_a_key_revocation_that_the_database_undoes_fails(
    harness: RegistryHarness, intruder: Intruder, table: Table, late: bool
) -> None:
    create(harness)
    size = harness.registry.log.size()
    intruder.undo_writes(table, late=late)
    with pytest.raises(SealgateError) as caught:
        revoke(harness)
    # PostgreSQL itself misses the entry of a row.
    assert caught.value.reason in (Reason.LOG_INCONSISTENT, Reason.RECORD_FAILED)
    intruder.stop_undoing(table)
    assert harness.registry.log.size() == size
    revoke(harness)
    harness.registry.verify()


@pytest.mark.parametrize(
    ("table", "altered"),
    [(schema.REVOCATIONS, False), (schema.FRESHNESS, True), (schema.LOG.tiles, True)],
    ids=["revocations", "freshness", "tiles"],
)
def test_a_revocation_of_a_version_that_the_database_undoes_fails(
    harness: RegistryHarness, intruder: Intruder, table: Table, altered: bool
) -> None:
    version = harness.publish()
    intruder.undo_writes(table, altered=altered)
    with refused(Reason.LOG_INCONSISTENT):
        harness.revoke(version)
    intruder.stop_undoing(table)
    assert harness.revoke(version).revocation_reason
    harness.registry.verify()


def test_an_allowance_passes_once_though_its_row_is_deleted(
    harness: RegistryHarness, intruder: Intruder
) -> None:
    harness.accept(
        screens=ScreeningPolicy({"digits": ScreeningRules(step_up=StepUpRule("approver", 900))})
    )
    word = an_allowance()
    envelope = sign_statement(word, key("anna"))
    second = harness.open()
    harness.registry.allowances.use(envelope, held(word))
    intruder.delete(schema.ALLOWANCES)
    for registry in (harness.registry, second):
        with refused(Reason.ALLOWANCE_USED):
            registry.allowances.use(envelope, held(word))
    second.close()


def test_a_withdrawn_bound_stays_withdrawn(harness: RegistryHarness, intruder: Intruder) -> None:
    one, two = harness.publish("one"), harness.publish("two")
    drifts = harness.registry.drifts
    drifts.withdraw("gateway", ANSWER_LOG, "digits", one.version, {"requests": 412})
    rows = intruder.copy([schema.DRIFTS])
    intruder.delete(schema.DRIFTS)
    assert drifts.withdrawn().keys() == {one.digest}
    # A forged row withdraws nothing, and hides no finding: that is not recorded, and tried again.
    (row,) = rows[schema.DRIFTS]
    intruder.put_back({schema.DRIFTS: [row | {"version": two.version, "version_digest": "x"}]})
    assert drifts.withdrawn().keys() == {one.digest}
    with refused(Reason.RECORD_FAILED):
        drifts.withdraw("gateway", ANSWER_LOG, "digits", two.version, {"requests": 412})


def test_an_anchor_stays_the_newest_though_its_row_is_deleted(
    harness: RegistryHarness, intruder: Intruder, tmp_path: Path
) -> None:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    log.append([an_answer()] * 3)
    earlier = log.note
    log.append([an_answer()] * 2)
    harness.registry.anchors.add("gateway", log.note)
    intruder.delete(schema.ANCHORS)
    newest = harness.registry.anchors.newest(ANSWER_LOG)
    assert newest is not None
    assert newest.size == 5
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.anchors.add("gateway", earlier)
    log.close()


def test_nothing_is_changed_under_an_older_policy(
    harness: RegistryHarness, intruder: Intruder
) -> None:
    """Else a promotion could be made under rules that a newer policy has tightened."""
    version = harness.publish()
    proposal = harness.approve(harness.propose(version), "anna", "arne")
    harness.accept(expires="2027-06-01T00:00:00Z")
    intruder.delete(schema.POLICIES, schema.POLICIES.c.version == 2)
    for act in (
        lambda: harness.promote(proposal),
        lambda: harness.registry.models.create("paula", "faces"),
        lambda: harness.accept(expires="2027-07-01T00:00:00Z"),
    ):
        with refused(Reason.LOG_INCONSISTENT):
            act()


@pytest.mark.parametrize("edited", [False, True])
def test_a_service_does_not_return_beyond_a_move_that_was_deleted(
    harness: RegistryHarness, intruder: Intruder, edited: bool
) -> None:
    first = harness.release(harness.publish("one"))
    harness.release(harness.publish("two"), predecessor=1)
    third = harness.release(harness.publish("three"), predecessor=2)
    second = schema.POINTERS.c.sequence == 2
    if edited:
        intruder.update(schema.POINTERS, second, version_digest=third.version_digest)
    else:
        intruder.delete(schema.POINTERS, second)
    with refused(Reason.LOG_INCONSISTENT):
        harness.roll_back(first, 4, admin="guard")


def forged(intruder: Intruder) -> None:
    """Another version's revocation, which nobody signed."""
    (row,) = intruder.copy([schema.REVOCATIONS])[schema.REVOCATIONS]
    two = intruder.copy([schema.VERSIONS])[schema.VERSIONS][1]
    rows = [row, row | {"version": two["version"], "version_digest": two["digest"], "entry": 0}]
    intruder.put_back({schema.REVOCATIONS: rows})


def deleted(intruder: Intruder) -> None:
    intruder.delete(schema.REVOCATIONS)


@pytest.mark.parametrize("edit", [forged, deleted])
def test_only_revocations_of_the_log_are_declared(
    harness: RegistryHarness, intruder: Intruder, edit: Callable[[Intruder], None]
) -> None:
    """An engine never forgets a revocation, so a forged one would end a version for good."""
    one, _ = harness.publish("one"), harness.publish("two")
    harness.revoke(one)
    edit(intruder)
    harness.now += timedelta(minutes=30)
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.refresh()
    assert revoked(harness) == (one.digest,)


def test_the_newest_statement_is_shown_though_an_older_one_was_put_back(
    harness: RegistryHarness, intruder: Intruder
) -> None:
    version = harness.publish()
    before = intruder.copy([schema.FRESHNESS])
    harness.revoke(version)
    intruder.put_back(before)
    assert revoked(harness) == (version.digest,)
    intruder.update(schema.FRESHNESS, envelope=b"{}")
    assert revoked(harness) == (version.digest,)


def test_an_entry_edited_before_it_was_read_tells_nothing(
    harness: RegistryHarness, intruder: Intruder
) -> None:
    create(harness)
    other = harness.open()
    revoke(harness)
    newest = schema.LOG.leaves.c.index == harness.registry.log.size() - 1
    intruder.update(schema.LOG.leaves, newest, data=b'{"event":"model.created"}')
    with refused(Reason.LOG_INCONSISTENT):
        other.logged()
    other.close()
    # A gateway that has read the entry already does not read it again.
    assert KEY_ID in harness.registry.logged().key_revocations


def revoked(harness: RegistryHarness) -> tuple[str, ...]:
    """Return the revocations in the statement that engines receive."""
    envelope = Envelope.decode(harness.registry.snapshot().freshness)
    return Freshness.decode(envelope.payload).revoked
