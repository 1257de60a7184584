"""How many entries erasures closed, and of which somebody pruned some: the log says it, on both
databases, whatever is written into the tables.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import delete, make_url

from registry.answers import search
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.upkeep import prune_leaves
from registry.audit.erasures import ErasureTotals, PlannedErasure, Prunings
from registry.log.rows import OPENINGS
from registry.state import schema
from registry.state.unit_of_work import Ledger, RequestKey
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from tests.support.builders.documents.people import ANSWER_LOG, NOW, REGISTRY_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, opening
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import other_schema
from tests.support.oracles.intruder import Intruder

SIZE = 600


@pytest.fixture
def place(database_url: str) -> str:
    if database_url.startswith("sqlite"):
        return database_url.replace("registry.db", "answers.db")
    return other_schema(database_url, make_url(database_url).query["schema"] + "_answers")


@pytest.fixture
def log(place: str) -> Iterator[AnswerLog]:
    """An answer log of 600 entries about three subjects in turn."""
    leaf = answer_entry.leaf(answer_entry.FIELDS, answer_entry.salts(b"key", bytes(16)))
    with closing(AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)) as log:
        for first in range(0, SIZE, 200):
            subjects = [f"subject-{n % 3}" for n in range(first, first + 200)]
            log.append([LoggedAnswer(leaf, opening(subject=s)) for s in subjects])
        yield log


def erase(harness: RegistryHarness, log: AnswerLog, subject: str) -> None:
    about = log.openings.about(subject, 0, log.size)
    closed = PlannedErasure(len(about), log.size, f"digest of {subject}")
    harness.registry.erasures.add("otto", ANSWER_LOG, f"pseudonym of {subject}", closed)
    assert log.openings.erase(subject, log.size) == len(about)


def prune(harness: RegistryHarness, log: AnswerLog, place: str, size: int) -> None:
    harness.registry.anchors.add("gateway", log.note)
    ledger = Ledger.join(harness.database, REGISTRY_LOG, key("registry-log"), harness.clock)
    before = NOW + timedelta(hours=1)
    Prunings(ledger, "root").add(ANSWER_LOG, size, before, log.openings.closed_between)
    with closing(Database.open(place, "answers")) as database:
        prune_leaves(database, size)


def test_what_is_closed_is_what_the_log_tells(
    harness: RegistryHarness, log: AnswerLog, place: str
) -> None:
    erasures = harness.registry.erasures
    assert erasures.erased(ANSWER_LOG) == ErasureTotals(0, 0, 0)
    erase(harness, log, "subject-0")
    assert log.openings.about("subject-1", 0, 7) == [1, 4]
    assert (log.openings.closed(), log.openings.closed_between(1, 7)) == (200, 2)
    assert erasures.erased(ANSWER_LOG) == ErasureTotals(200, SIZE, 0)
    prune(harness, log, place, 256)
    assert log.openings.closed() == erasures.erased(ANSWER_LOG).entries == 200 - 86
    erase(harness, log, "subject-1")
    prune(harness, log, place, 512)
    assert log.openings.closed() == erasures.erased(ANSWER_LOG).entries
    assert erasures.destroyed_keys() == {"digest of subject-0", "digest of subject-1"}
    harness.reopen().verify()
    assert log.openings.closed() == harness.registry.erasures.erased(ANSWER_LOG).entries


def test_counting_by_memory_looks_at_the_block_that_is_asked_for(
    harness: RegistryHarness, log: AnswerLog, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "COUNTED_AT_ONCE", 256)
    openings = log.openings
    erase(harness, log, "subject-0")
    assert openings.closed_by_memory(0) == openings.closed() == 200
    with closing(Database.open(place, "answers")) as database, database.writing() as connection:
        connection.execute(delete(OPENINGS).where(OPENINGS.c.index == 1))
        connection.commit()
    assert openings.closed_by_memory(300) == 200
    assert openings.closed_by_memory(1) == openings.closed_by_memory(300) == openings.closed()
    prune(harness, log, place, 256)
    assert openings.closed_by_memory(300) == openings.closed()
    erase(harness, log, "subject-1")
    assert openings.closed_by_memory(300) == openings.closed()


def test_edited_and_deleted_rows_change_nothing(
    harness: RegistryHarness, log: AnswerLog, place: str
) -> None:
    erase(harness, log, "subject-0")
    prune(harness, log, place, 256)
    before = harness.registry.erasures.erased(ANSWER_LOG)
    intruder = Intruder(harness.database)
    intruder.update(schema.ERASURES, entries=None, size=9999, key_digest=None)
    intruder.update(schema.PRUNINGS, closed=0)
    assert harness.registry.erasures.erased(ANSWER_LOG) == before
    intruder.delete(schema.ERASURES)
    intruder.delete(schema.PRUNINGS)
    assert harness.registry.erasures.erased(ANSWER_LOG) == before
    assert harness.registry.erasures.destroyed_keys() == {"digest of subject-0"}
    erase(harness, log, "subject-1")
    prune(harness, log, place, 512)
    assert log.openings.closed() == harness.registry.erasures.erased(ANSWER_LOG).entries


def test_a_request_that_is_remembered_without_its_erasure(harness: RegistryHarness) -> None:
    once = RequestKey("6f1c2b9e-33a4-4d7e-8a57-0c1f5a1b2c3d", "sha256:" + "1" * 64)
    with harness.database.writing() as connection:
        row = {"principal": "otto", "request_id": once.request_id, "digest": once.digest}
        row |= {"entry": 0, "time": "2026-11-25T10:00:00Z"}
        connection.execute(schema.REQUESTS.insert(), row)
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.erasures.add("otto", ANSWER_LOG, "p", PlannedErasure(0, 0, None), once)
