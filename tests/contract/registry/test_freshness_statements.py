"""Statements of freshness: none over deleted rows, none from the future kept, none twice after a
lost commit.
"""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau
from tests.support.people import refused


@pytest.mark.parametrize("table", ["pointers", "revocations"])
@pytest.mark.parametrize("statement", ["DELETE FROM freshness", ""], ids=["gone", "kept"])
def test_no_statement_is_signed_over_deleted_rows(
    tmp_path: Path, table: str, statement: str
) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    version = bureau.publish()
    bureau.release(version)
    bureau.revoke(version)
    registry = bureau.reopen()
    with sqlite3.connect(tmp_path / "registry.db") as intruder:
        intruder.execute(f"DELETE FROM {table}")  # noqa: S608
        intruder.execute(statement)
    intruder.close()
    bureau.now += timedelta(hours=2)
    with refused(Reason.LOG_INCONSISTENT):
        registry.refresh()
    registry.close()


def newest_statement(bureau: Bureau) -> Freshness:
    return Freshness.decode(Envelope.decode(bureau.registry.snapshot().freshness).payload)


def test_the_statement_after_a_lost_commit_has_the_next_number(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau = Bureau(tmp_path, database_url).found()
    proposal = bureau.approve(bureau.propose(bureau.publish()), "anna", "arne")
    commit = Connection.commit

    def break_after(connection: Connection) -> None:
        commit(connection)
        raise OperationalError("COMMIT", None, Exception("the connection was closed"))

    monkeypatch.setattr(Connection, "commit", break_after)
    with refused(Reason.RECORD_FAILED):
        bureau.promote(proposal)
    monkeypatch.undo()
    doubtful = newest_statement(bureau)
    assert doubtful.pointers
    bureau.revoke(bureau.publish("two"))
    assert newest_statement(bureau).sequence == doubtful.sequence + 1
    bureau.registry.verify()
    bureau.registry.close()


def test_a_statement_from_the_future_is_signed_anew(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    right = bureau.now
    bureau.now = right + timedelta(days=3)
    assert bureau.registry.refresh()
    bureau.now = right
    assert bureau.registry.refresh()
    statement = Envelope.decode(bureau.registry.snapshot().freshness)
    assert Freshness.decode(statement.payload).issued == format_time(right)
    assert not bureau.registry.refresh()
    # By as much as clocks may differ it may be ahead.
    bureau.now = right - timedelta(minutes=4)
    assert not bureau.registry.refresh()
    bureau.registry.close()
