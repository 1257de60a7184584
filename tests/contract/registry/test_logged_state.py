"""What a gateway serves follows from the log: rows that are edited, forged, deleted or put back
change nothing, and a change that the database undoes fails.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table

from registry.answers.answer_log import AnswerLog
from registry.credentials.api_keys import ApiKeyRecord
from registry.state import schema
from registry.state.requests import RequestKey
from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, StepUpRule
from sealgate.trust.statements import Freshness, sign_statement
from tests.support.allowances import an_allowance, held
from tests.support.bureau import Bureau
from tests.support.intruder import Intruder
from tests.support.people import ANSWER_LOG, NOW, key, refused
from tests.support.records import SUBJECTS, an_answer

KEY_ID, OTHER_ID, DIGEST = "0123456789ab", "ba9876543210", "d" * 64
EVERYTHING = list(schema.METADATA.sorted_tables)


def create(bureau: Bureau, key_id: str = KEY_ID) -> ApiKeyRecord:
    expires = NOW + timedelta(days=7)
    return bureau.registry.api_keys.create("otto", key_id, "carla", "", expires, DIGEST)


def revoke(bureau: Bureau, once: RequestKey | None = None) -> ApiKeyRecord:
    return bureau.registry.api_keys.revoke("otto", KEY_ID, "leaked", once)


@pytest.fixture
def intruder(bureau: Bureau) -> Intruder:
    return Intruder(bureau.database)


class TestApiKeys:
    def test_a_deleted_revocation_revives_no_key(self, bureau: Bureau, intruder: Intruder) -> None:
        create(bureau)
        revoke(bureau)
        intruder.delete(schema.API_KEY_REVOCATIONS)
        assert KEY_ID in bureau.registry.logged().key_revocations
        # People see it too.
        (listed,) = bureau.registry.api_keys.list().records
        assert (listed.revoker, listed.reason) == ("otto", "leaked")
        with refused(Reason.API_KEY_ENDED):
            revoke(bureau)

    def test_a_row_put_in_again_revives_no_key(self, bureau: Bureau, intruder: Intruder) -> None:
        create(bureau)
        before = intruder.copy([schema.API_KEYS, schema.API_KEY_REVOCATIONS])
        revoke(bureau)
        intruder.put_back(before)
        assert KEY_ID in bureau.registry.logged().key_revocations

    def test_a_forged_row_makes_no_key(self, bureau: Bureau, intruder: Intruder) -> None:
        create(bureau)
        intruder.update(schema.API_KEYS, key_id=OTHER_ID, holder="otto")
        assert list(bureau.registry.logged().api_keys) == [KEY_ID]
        assert bureau.registry.logged().api_keys[KEY_ID].holder == "carla"
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.api_keys.list()

    def test_a_deleted_row_hides_no_key(self, bureau: Bureau, intruder: Intruder) -> None:
        """The key is valid all the same, and an admin must be able to revoke it."""
        create(bureau)
        create(bureau, OTHER_ID)
        intruder.delete(schema.API_KEYS, schema.API_KEYS.c.key_id == KEY_ID)
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.api_keys.list()
        with pytest.raises(Refusal):
            revoke(bureau)

    def test_an_older_database_is_not_followed(self, bureau: Bureau, intruder: Intruder) -> None:
        create(bureau)
        before = intruder.copy(EVERYTHING)
        revoke(bureau)
        intruder.put_back(before)
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.logged()
        # Nor is what others add to it.
        second = bureau.open()
        second.models.create("paula", "faces")
        second.models.create("paula", "names")
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.logged()
        second.close()

    def test_a_revocation_that_was_remembered_but_never_made(
        self, bureau: Bureau, intruder: Intruder
    ) -> None:
        """The table of repeated requests is no part of the record: anyone may have written it."""
        create(bureau)
        once = RequestKey("6f1c2b9e-33a4-4d7e-8a57-0c1f5a1b2c3d", "sha256:" + "1" * 64)
        with bureau.database.writing() as connection:
            row = {"principal": "otto", "request_id": once.request_id, "digest": once.digest}
            row |= {"entry": 0, "time": "2026-11-25T10:00:00Z"}
            connection.execute(schema.REQUESTS.insert(), row)
            connection.commit()
        with refused(Reason.LOG_INCONSISTENT):
            revoke(bureau, once)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "table",
    [schema.API_KEY_REVOCATIONS, schema.LOG.leaves, schema.LOG.checkpoints],
    ids=lambda table: table.name,
)
def test_a_key_revocation_that_the_database_undoes_fails(
    bureau: Bureau, intruder: Intruder, table: Table, late: bool
) -> None:
    create(bureau)
    size = bureau.registry.log.size()
    intruder.undo_writes(table, late=late)
    with pytest.raises(Refusal) as caught:
        revoke(bureau)
    # PostgreSQL itself misses the entry of a row.
    assert caught.value.reason in (Reason.LOG_INCONSISTENT, Reason.RECORD_FAILED)
    intruder.stop_undoing(table)
    assert bureau.registry.log.size() == size
    revoke(bureau)
    bureau.registry.verify()


@pytest.mark.parametrize(
    ("table", "altered"),
    [(schema.REVOCATIONS, False), (schema.FRESHNESS, True), (schema.LOG.tiles, True)],
    ids=["revocations", "freshness", "tiles"],
)
def test_a_revocation_of_a_version_that_the_database_undoes_fails(
    bureau: Bureau, intruder: Intruder, table: Table, altered: bool
) -> None:
    version = bureau.publish()
    intruder.undo_writes(table, altered=altered)
    with refused(Reason.LOG_INCONSISTENT):
        bureau.revoke(version)
    intruder.stop_undoing(table)
    assert bureau.revoke(version).revocation_reason
    bureau.registry.verify()


def test_an_allowance_passes_once_though_its_row_is_deleted(
    bureau: Bureau, intruder: Intruder
) -> None:
    bureau.accept(
        screens=ScreeningPolicy({"digits": ScreeningRules(step_up=StepUpRule("approver", 900))})
    )
    word = an_allowance()
    envelope = sign_statement(word, key("anna"))
    second = bureau.open()
    bureau.registry.allowances.use(envelope, held(word))
    intruder.delete(schema.ALLOWANCES)
    for registry in (bureau.registry, second):
        with refused(Reason.ALLOWANCE_USED):
            registry.allowances.use(envelope, held(word))
    second.close()


def test_a_withdrawn_bound_stays_withdrawn(bureau: Bureau, intruder: Intruder) -> None:
    one, two = bureau.publish("one"), bureau.publish("two")
    drifts = bureau.registry.drifts
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
    bureau: Bureau, intruder: Intruder, tmp_path: Path
) -> None:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    log.append([an_answer()] * 3)
    earlier = log.note
    log.append([an_answer()] * 2)
    bureau.registry.anchors.add("gateway", log.note)
    intruder.delete(schema.ANCHORS)
    newest = bureau.registry.anchors.newest(ANSWER_LOG)
    assert newest is not None
    assert newest.size == 5
    with refused(Reason.LOG_INCONSISTENT):
        bureau.registry.anchors.add("gateway", earlier)
    log.close()


def test_nothing_is_changed_under_an_older_policy(bureau: Bureau, intruder: Intruder) -> None:
    """Else a promotion could be made under rules that a newer policy has tightened."""
    version = bureau.publish()
    proposal = bureau.approve(bureau.propose(version), "anna", "arne")
    bureau.accept(expires="2027-06-01T00:00:00Z")
    intruder.delete(schema.POLICIES, schema.POLICIES.c.version == 2)
    for act in (
        lambda: bureau.promote(proposal),
        lambda: bureau.registry.models.create("paula", "faces"),
        lambda: bureau.accept(expires="2027-07-01T00:00:00Z"),
    ):
        with refused(Reason.LOG_INCONSISTENT):
            act()


@pytest.mark.parametrize("edited", [False, True])
def test_a_service_does_not_return_beyond_a_move_that_was_deleted(
    bureau: Bureau, intruder: Intruder, edited: bool
) -> None:
    first = bureau.release(bureau.publish("one"))
    bureau.release(bureau.publish("two"), predecessor=1)
    third = bureau.release(bureau.publish("three"), predecessor=2)
    second = schema.POINTERS.c.sequence == 2
    if edited:
        intruder.update(schema.POINTERS, second, version_digest=third.version_digest)
    else:
        intruder.delete(schema.POINTERS, second)
    with refused(Reason.LOG_INCONSISTENT):
        bureau.roll_back(first, 4, admin="guard")


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
    bureau: Bureau, intruder: Intruder, edit: Callable[[Intruder], None]
) -> None:
    """An engine never forgets a revocation, so a forged one would end a version for good."""
    one, _ = bureau.publish("one"), bureau.publish("two")
    bureau.revoke(one)
    edit(intruder)
    bureau.now += timedelta(minutes=30)
    with refused(Reason.LOG_INCONSISTENT):
        bureau.registry.refresh()
    assert revoked(bureau) == (one.digest,)


def test_the_newest_statement_is_shown_though_an_older_one_was_put_back(
    bureau: Bureau, intruder: Intruder
) -> None:
    version = bureau.publish()
    before = intruder.copy([schema.FRESHNESS])
    bureau.revoke(version)
    intruder.put_back(before)
    assert revoked(bureau) == (version.digest,)
    intruder.update(schema.FRESHNESS, envelope=b"{}")
    assert revoked(bureau) == (version.digest,)


def test_an_entry_edited_before_it_was_read_tells_nothing(
    bureau: Bureau, intruder: Intruder
) -> None:
    create(bureau)
    other = bureau.open()
    revoke(bureau)
    newest = schema.LOG.leaves.c.index == bureau.registry.log.size() - 1
    intruder.update(schema.LOG.leaves, newest, data=b'{"event":"model.created"}')
    with refused(Reason.LOG_INCONSISTENT):
        other.logged()
    other.close()
    # Who has read it already does not read it again.
    assert KEY_ID in bureau.registry.logged().key_revocations


def revoked(bureau: Bureau) -> tuple[str, ...]:
    """What the statement that an engine is shown says is revoked."""
    envelope = Envelope.decode(bureau.registry.snapshot().freshness)
    return Freshness.decode(envelope.payload).revoked
