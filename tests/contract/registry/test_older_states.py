"""A database that was put back to an earlier state is refused, also while another process changes
it.
"""

from pathlib import Path

import pytest

from registry.state import schema
from sealgate.reasons import Reason
from tests.support.bureau import Bureau
from tests.support.intruder import Intruder
from tests.support.people import refused

TABLES = list(schema.METADATA.sorted_tables)


@pytest.fixture
def bureau(tmp_path: Path, database_url: str) -> Bureau:
    return Bureau(tmp_path, database_url).found()


def test_an_older_state_is_refused_whoever_holds_the_log(bureau: Bureau) -> None:
    intruder = Intruder(bureau.database)
    before = intruder.copy(TABLES)
    bureau.registry.models.create("paula", "letters")
    now = intruder.copy(TABLES)
    with bureau.registry.ledger.log.lock:
        intruder.put_back(before)
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.snapshot()
        intruder.put_back({table: [] for table in TABLES})
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.snapshot()
        intruder.put_back(now)
        bureau.registry.snapshot()
        bureau.registry.halt("another log was seen")
        with refused(Reason.LOG_INCONSISTENT):
            bureau.registry.snapshot()


def test_entries_added_meanwhile_are_shown(bureau: Bureau) -> None:
    mine = bureau.registry
    before = mine.snapshot()
    with mine.ledger.log.lock:
        # Another gateway's process.
        bureau.reopen()
        bureau.release(bureau.publish())
        assert before.live == ()
        assert len(mine.snapshot().live) == 1
