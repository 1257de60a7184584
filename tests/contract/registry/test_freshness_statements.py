"""Statements of freshness: none over deleted rows, none from the future kept, none twice after a
lost commit.
"""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError

from registry.state.schema import FRESHNESS
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness, sign_statement
from sealgate.trust.times import format_time
from sealgate.trust.transparency import RotatingSigner
from tests.support.builders.documents.people import key, refused
from tests.support.harness.registry import RegistryHarness


@pytest.mark.parametrize("table", ["pointers", "revocations"])
@pytest.mark.parametrize("statement", ["DELETE FROM freshness", ""], ids=["gone", "kept"])
def test_no_statement_is_signed_over_deleted_rows(
    tmp_path: Path, table: str, statement: str
) -> None:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    version = harness.publish()
    harness.release(version)
    harness.revoke(version)
    registry = harness.reopen()
    with sqlite3.connect(tmp_path / "registry.db") as intruder:
        intruder.execute(f"DELETE FROM {table}")  # noqa: S608
        intruder.execute(statement)
    intruder.close()
    harness.now += timedelta(hours=2)
    with refused(Reason.LOG_INCONSISTENT):
        registry.refresh()
    registry.close()


def newest_statement(harness: RegistryHarness) -> Freshness:
    return Freshness.decode(Envelope.decode(harness.registry.snapshot().freshness).payload)


def test_the_statement_after_a_lost_commit_has_the_next_number(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = RegistryHarness(tmp_path, database_url).found()
    proposal = harness.approve(harness.propose(harness.publish()), "anna", "arne")
    commit = Connection.commit

    def break_after(connection: Connection) -> None:
        commit(connection)
        raise OperationalError("COMMIT", None, Exception("the connection was closed"))

    monkeypatch.setattr(Connection, "commit", break_after)
    with refused(Reason.RECORD_FAILED):
        harness.promote(proposal)
    monkeypatch.undo()
    doubtful = newest_statement(harness)
    assert doubtful.pointers
    harness.revoke(harness.publish("two"))
    assert newest_statement(harness).sequence == doubtful.sequence + 1
    harness.registry.verify()
    harness.registry.close()


def test_a_statement_from_the_future_is_signed_anew(tmp_path: Path) -> None:
    harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    right = harness.now
    harness.now = right + timedelta(days=3)
    assert harness.registry.refresh()
    harness.now = right
    assert harness.registry.refresh()
    statement = Envelope.decode(harness.registry.snapshot().freshness)
    assert Freshness.decode(statement.payload).issued == format_time(right)
    assert not harness.registry.refresh()
    # By as much as clocks may differ it may be ahead.
    harness.now = right - timedelta(minutes=4)
    assert not harness.registry.refresh()
    harness.registry.close()


def with_freshness_keys(harness: RegistryHarness, *names: str) -> None:
    """Accept a policy that gives these keys, and no others, the role."""
    keys = {key(name).public.keyid: key(name).public for name in names}
    principals = tuple(
        replace(person, keys=tuple(keys)) if "freshness" in person.roles else person
        for person in harness.policy.principals
    )
    harness.accept(principals=principals, keys={**harness.policy.keys, **keys})


@pytest.mark.parametrize("beside", [("fresh", "fresh-2"), ("fresh-2",)], ids=["both", "at once"])
def test_a_former_key_signs_nothing_that_a_running_registry_takes(
    harness: RegistryHarness, beside: tuple[str, ...]
) -> None:
    harness.freshness_signer = RotatingSigner(key("fresh"), key("fresh-2"))
    harness.reopen()
    with_freshness_keys(harness, *beside)
    with_freshness_keys(harness, "fresh-2")
    newest = newest_statement(harness)
    forged = sign_statement(replace(newest, sequence=newest.sequence + 1), key("fresh"))
    with harness.database.writing() as connection:
        connection.execute(update(FRESHNESS).values(envelope=forged.encode()))
        connection.commit()
    for act in (harness.registry.refresh, lambda: harness.revoke(harness.publish())):
        with refused(Reason.LOG_INCONSISTENT) as caught:
            act()
        assert caught.value.detail == "a freshness statement not ours"
