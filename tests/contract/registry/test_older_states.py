"""A database that was put back to an earlier state is refused, also while another process changes
it.
"""

from pathlib import Path

import pytest

from registry.state import schema
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import Intruder

pytestmark = [pytest.mark.slow, pytest.mark.no_tables]

TABLES = list(schema.METADATA.sorted_tables)


@pytest.fixture
def harness(tmp_path: Path, database_url: str) -> RegistryHarness:
    return RegistryHarness(tmp_path, database_url).found()


def test_an_older_state_is_refused_whoever_holds_the_log(harness: RegistryHarness) -> None:
    intruder = Intruder(harness.database)
    before = intruder.copy(TABLES)
    harness.registry.models.create("paula", "letters")
    now = intruder.copy(TABLES)
    with harness.registry.ledger.log.lock:
        intruder.put_back(before)
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.snapshot()
        intruder.put_back({table: [] for table in TABLES})
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.snapshot()
        intruder.put_back(now)
        harness.registry.snapshot()
        harness.registry.halt("another log was seen")
        with refused(Reason.LOG_INCONSISTENT):
            harness.registry.snapshot()


def test_entries_added_meanwhile_are_shown(harness: RegistryHarness) -> None:
    mine = harness.registry
    before = mine.snapshot()
    with mine.ledger.log.lock:
        # Another gateway's process.
        harness.reopen()
        harness.release(harness.publish())
        assert before.live == ()
        assert len(mine.snapshot().live) == 1
