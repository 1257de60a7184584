"""Pruning and erasure on both databases: what goes, what stays, and what is still proved."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.upkeep import prune_leaves
from registry.audit.erasures import PlannedErasure, Prunings
from registry.log.rows import ANSWERS, OPENINGS
from registry.state.unit_of_work import Ledger
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.receipts import answer_entry
from sealgate.trust.receipts.answer_entry import is_pseudonym, pseudonym
from sealgate.trust.transparency import merkle, open_checkpoint
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, refused
from tests.support.fakes.records import SUBJECTS, opening
from tests.support.harness.registry import RegistryHarness
from tests.support.harness.servers.postgres import other_schema

KEY = vkey(ANSWER_LOG, key("answer-log").public)
SIZE = 1000


def leaf(number: int) -> bytes:
    return answer_entry.leaf(
        answer_entry.FIELDS, answer_entry.salts(b"key", number.to_bytes(16, "big"))
    )


def answers(first: int, end: int) -> list[LoggedAnswer]:
    return [LoggedAnswer(leaf(n), opening(subject=f"subject-{n % 2}")) for n in range(first, end)]


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> str:
    """Where the answer log is."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/answers.db"
    return other_schema(database_url, database_url.rpartition("=")[2] + "_answers")


@pytest.fixture
def log(place: str) -> Iterator[AnswerLog]:
    """An answer log of 1000 entries, in groups."""
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    for first in range(0, SIZE, 250):
        log.append(answers(first, first + 250))
    yield log
    log.close()


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    database = Database.open(place, "answers")
    yield database
    database.close()


def count(database: Database, table) -> int:
    with database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)))


def test_everything_is_proved_as_before(log: AnswerLog, database: Database, place: str) -> None:
    root = open_checkpoint(log.note, KEY).root
    before = [log.reader.inclusion(index, SIZE) for index in (0, 300, 999)]
    assert prune_leaves(database, 768) == 768
    assert count(database, ANSWERS.leaves) == count(database, OPENINGS) == SIZE - 768
    assert [log.reader.inclusion(index, SIZE) for index in (0, 300, 999)] == before
    merkle.verify_inclusion(merkle.leaf_hash(leaf(0)), 0, SIZE, list(before[0]), root)
    for old in (1, 255, 256, 500, 768, 1000):
        assert log.reader.consistency(old, SIZE) is not None
    verified = log.reader.verify(pruned=768)
    assert (verified.size, verified.root, verified.pruned) == (SIZE, root, 768)
    # It goes on growing, now and after a restart.
    log.append(answers(SIZE, SIZE + 30))
    again = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    again.append(answers(SIZE + 30, SIZE + 60))
    assert again.reader.verify(pruned=768).size == SIZE + 60
    again.close()


def test_hashes_of_pruned_entries_are_kept(log: AnswerLog, database: Database) -> None:
    prune_leaves(database, 512)
    data = b"".join(log.reader.hashes(0, SIZE))
    assert data == b"".join(merkle.leaf_hash(leaf(n)) for n in range(SIZE))
    assert b"".join(log.reader.hashes(300, 302)) == data[300 * 32 : 302 * 32]
    assert log.reader.first() == 512


def test_what_is_pruned_is_refused(log: AnswerLog, database: Database) -> None:
    prune_leaves(database, 512)
    with refused(Reason.ENTRY_PRUNED):
        log.reader.entry(511)
    with refused(Reason.ENTRY_PRUNED):
        list(log.reader.entries(0, SIZE))
    with refused(Reason.ENTRY_UNKNOWN):
        log.reader.entry(SIZE)
    with refused(Reason.ENTRY_UNKNOWN):
        log.opening(0)
    assert log.reader.entry(512) == leaf(512)


def test_missing_entries_are_not_called_pruned(log: AnswerLog, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(delete(ANSWERS.leaves).where(ANSWERS.leaves.c.index < 256))
        connection.commit()
    for pruned in (0, 255):
        with refused(Reason.LOG_INCONSISTENT):
            log.reader.verify(pruned=pruned)
    log.reader.verify(pruned=512)
    with database.writing() as connection:
        connection.execute(delete(ANSWERS.leaves).where(ANSWERS.leaves.c.index < 300))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        log.reader.verify(pruned=512)
    with refused(Reason.LOG_INCONSISTENT):
        prune_leaves(database, 512)


def test_altered_hashes_of_pruned_entries_show(log: AnswerLog, database: Database) -> None:
    prune_leaves(database, 512)
    with database.writing() as connection:
        tile = (ANSWERS.tiles.c.level == 0, ANSWERS.tiles.c.index == 0)
        connection.execute(update(ANSWERS.tiles).where(*tile).values(hashes=bytes(8192)))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        log.reader.verify(pruned=512)


def test_altered_entries_are_not_pruned(log: AnswerLog, database: Database) -> None:
    """Pruning them would remove what shows that they were altered."""
    with database.writing() as connection:
        connection.execute(
            update(ANSWERS.leaves).where(ANSWERS.leaves.c.index == 7).values(data=b"")
        )
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        prune_leaves(database, 512)
    assert count(database, ANSWERS.leaves) == SIZE


@pytest.mark.parametrize("size", [100, 1000, 1024, -256])
def test_only_full_tiles_before_the_newest_go(
    log: AnswerLog, database: Database, size: int
) -> None:
    with pytest.raises(ValueError, match=r"tiles|newest"):
        prune_leaves(database, size)


def test_pruning_goes_on_where_it_was_killed(log: AnswerLog, database: Database) -> None:
    assert prune_leaves(database, 256) == 256
    assert prune_leaves(database, 768) == 512
    assert prune_leaves(database, 768) == 0
    assert prune_leaves(database, 512) == 0


@pytest.fixture
def harness(tmp_path: Path, database_url: str) -> Iterator[RegistryHarness]:
    harness = RegistryHarness(tmp_path, database_url).found()
    yield harness
    harness.registry.close()


def prunings(harness: RegistryHarness) -> Prunings:
    ledger: Ledger = harness.registry.ledger
    return Prunings(ledger, "operator:root")


def test_anchors_say_how_old_entries_are(harness: RegistryHarness, log: AnswerLog) -> None:
    harness.registry.anchors.add("gateway", log.note)
    book = prunings(harness)
    soon = NOW + timedelta(hours=1)
    assert book.prunable(ANSWER_LOG, NOW - timedelta(hours=1)) == 0
    assert book.prunable(ANSWER_LOG, soon) == book.left(ANSWER_LOG, soon) == 768
    assert book.left(ANSWER_LOG, NOW - timedelta(hours=1)) == 0
    with refused(Reason.RETENTION_HOLDS):
        book.add(ANSWER_LOG, 768, NOW - timedelta(hours=1), log.openings.closed_between)
    for size in (1024, 700):
        with refused(Reason.RETENTION_HOLDS):
            book.add(ANSWER_LOG, size, soon, log.openings.closed_between)
    assert book.pruned(ANSWER_LOG) == 0
    for _ in range(2):
        book.add(ANSWER_LOG, 768, soon, log.openings.closed_between)
    assert book.pruned(ANSWER_LOG) == 768
    assert book.left(ANSWER_LOG, soon) == 0
    told = [canonical.decode(leaf) for leaf in entries(harness)]
    pruned = [entry for entry in told if entry["event"] == "log.pruned"]
    assert [(e["subject"], e["body"]) for e in pruned] == [
        (f"logs/{ANSWER_LOG}", {"size": 768, "closed": 0})
    ]
    harness.registry.verify()


def entries(harness: RegistryHarness) -> list[bytes]:
    log = harness.registry.log
    return [leaf for block in log.entries(0, log.size()) for leaf in block]


def test_the_newest_time_is_of_an_entry_or_a_statement(harness: RegistryHarness) -> None:
    book = prunings(harness)
    harness.now = NOW + timedelta(hours=5)
    harness.registry.refresh()
    assert book.newest() == harness.now
    harness.now += timedelta(minutes=1)
    harness.registry.refusals.count("gateway", ANSWER_LOG, {"CREDENTIAL_MISSING": 1})
    assert book.newest() == harness.now


def test_a_forged_anchor_prunes_nothing(harness: RegistryHarness, log: AnswerLog) -> None:
    """An intruder makes an anchor look older than its entry says."""
    from registry.state.schema import ANCHORS

    harness.registry.anchors.add("gateway", log.note)
    with harness.registry.ledger.database.writing() as connection:
        connection.execute(update(ANCHORS).values(time="2020-01-01T00:00:00Z"))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        prunings(harness).prunable(ANSWER_LOG, NOW - timedelta(hours=1))


def test_erasing_removes_openings_alone(log: AnswerLog, database: Database) -> None:
    assert log.openings.erase("subject-1", SIZE) == SIZE // 2
    assert log.openings.erase("subject-1", SIZE) == 0
    with refused(Reason.ENTRY_UNKNOWN):
        log.opening(1)
    assert log.opening(2).subject == "subject-0"
    assert log.reader.verify().size == count(database, ANSWERS.leaves) == SIZE


def test_erasures_are_told_without_the_name(harness: RegistryHarness) -> None:
    told = pseudonym("patient-4711", bytes(16))
    harness.registry.erasures.add("otto", ANSWER_LOG, told, PlannedErasure(3, 1000, None))
    assert harness.registry.erasures.all() == [(ANSWER_LOG, told)]
    assert not any(b"patient" in leaf for leaf in entries(harness))
    assert is_pseudonym(told, "patient-4711")
    assert not is_pseudonym(told, "patient-4712")
    assert not is_pseudonym(told[:-1], "patient-4711")
    harness.registry.verify()
    with refused(Reason.LOG_UNKNOWN):
        harness.registry.erasures.add("otto", "example.org/other", told, PlannedErasure(0, 0, None))
