"""A registry that had just been opened remembered no statement of freshness of its own. Whoever
deleted the stored one together with a pointer or a revocation had the key sign what was left.
"""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.bureau import Bureau
from tests.support.people import refused


@pytest.mark.parametrize("table", ["pointers", "revocations"])
@pytest.mark.parametrize("statement", ["DELETE FROM freshness", ""], ids=["gone", "kept"])
def test_are_not_signed(tmp_path: Path, table: str, statement: str) -> None:
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
