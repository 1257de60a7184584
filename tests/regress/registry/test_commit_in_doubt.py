"""A commit that reached the database though the connection broke before it could say so.

The freshness statement after it once had the number of the one in doubt, with other contents.
"""

from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness
from tests.support.bureau import Bureau
from tests.support.people import refused


def newest_statement(bureau: Bureau) -> Freshness:
    return Freshness.decode(Envelope.decode(bureau.registry.snapshot().freshness).payload)


def test_the_next_statement_goes_on_from_it(
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
