"""`audit verify` tells erased entries from those whose openings somebody deleted."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from gateway.recording.recorder import AuditRecord
from registry.log.rows import OPENINGS
from registry.storage.database import Database
from sealgate.reasons import Reason
from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """A gateway that has recorded outcomes about two patients, three each."""
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        for _ in range(3):
            record(harness, "patient-1")
            record(harness, "patient-2")
        yield harness


def record(harness: GatewayHarness, subject: str) -> int:
    values = {"method": "m", "policy_digest": "p", "outcome": "answered"}
    outcome = AuditRecord(subject, datetime.now(UTC), "client", **values)
    return harness.gateway.recorder.record(outcome).proof.index


def verify(harness: GatewayHarness) -> tuple[int, dict[str, Any]]:
    """The exit status, and what is found of the answer log."""
    told = harness.command("audit", "verify", "--json", "--wait", "60")
    return told.exit_code, next(row for row in json.loads(told.stdout) if "answ" in row["log"])


def test_an_erasure_explains_its_entries(harness: GatewayHarness) -> None:
    status, found = verify(harness)
    assert (status, found["closed"], found["state"]) == (0, 0, "intact")
    assert harness.command("subject", "erase", "patient-1", "--yes").exit_code == 0
    record(harness, "patient-1")
    status, found = verify(harness)
    assert (status, found["closed"], found["state"]) == (0, 3, "intact")
    assert "3 entries erased" in found["found"]


def test_a_deleted_opening_shows(harness: GatewayHarness) -> None:
    index = record(harness, "patient-2")
    database = Database.open_unchanged(harness.state / "answers.db", "answers")
    here = OPENINGS.c.index == index
    with closing(database):
        with database.writing() as connection:
            row = connection.execute(select(OPENINGS).where(here)).mappings().one()
            connection.execute(delete(OPENINGS).where(here))
            connection.commit()
        status, found = verify(harness)
        assert (status, found["state"]) == (1, "broken")
        assert found["reason"] == Reason.OPENING_MISSING.name
        told = harness.command("audit", "verify", "--json", "--no-open", "--wait", "60")
        assert told.exit_code == 0
        with database.writing() as connection:
            connection.execute(insert(OPENINGS), dict(row))
            connection.commit()
    assert verify(harness)[0] == 0
