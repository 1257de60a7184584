"""Encrypted openings on both databases: searched by index, erased, pruned, made of plain ones."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from registry.answers import search
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import KnownSubject, Opening
from registry.answers.index import INDEXED, Postings
from registry.answers.subject_keys import SubjectKeys
from registry.answers.upkeep import has_plain_openings, prune_leaves
from registry.log.rows import ANSWERS, DAYS, PLAIN_OPENINGS, POSTINGS
from registry.log.tile_log import TileLog
from registry.storage import revisions
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, MemorySubjects
from tests.support.harness.servers.postgres import other_schema

SIZE = 1100
CALLERS, MODELS = ("ward-1", "ward-2", "ward-3"), ("triage", "dose")


def opening(number: int) -> Opening:
    """Entry `number`: two days, three callers, a subject for each 7th."""
    fields = {
        **dict.fromkeys(answer_entry.FIELDS, ""),
        "time": f"2026-11-{27 + (number >= 500)}T10:00:00.{number:06}Z",
        "principal": CALLERS[number % 3],
        "model": MODELS[number % 2],
        "version": "1",
        "outcome": "answered" if number % 10 else "ADVERSARIAL_INPUT",
        "verdict": "clean" if number % 10 else "adversarial",
        "request_id": f"request-{number}",
    }
    subject = f"patient-{number % 7}"
    return Opening(tuple(fields.values()), number.to_bytes(16), subject, SUBJECTS.key(subject))


def an_answer(number: int) -> LoggedAnswer:
    told = opening(number)
    return LoggedAnswer(
        answer_entry.leaf(told.fields, answer_entry.salts(told.key, told.nonce)), told
    )


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> str:
    """Where the answer log is."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/answers.db"
    return other_schema(database_url, database_url.rpartition("=")[2] + "_answers")


@pytest.fixture
def log(place: str) -> Iterator[AnswerLog]:
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    sizes = [1, 256, 3, 240, 100, 256, 244]
    for end, size in ((sum(sizes[: n + 1]), size) for n, size in enumerate(sizes)):
        log.append([an_answer(number) for number in range(end - size, end)])
    yield log
    log.close()


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    database = Database.open(place, "answers")
    yield database
    database.close()


def found(log: AnswerLog, start: int = 0, end: int = SIZE, *values: str, **where: str) -> list[int]:
    parts = list(log.openings.find(start, end, values, where))
    assert parts[-1].next == end
    assert all(one == opening(index) for part in parts for index, one in part.openings)
    return [index for part in parts for index, _ in part.openings]


SEARCHES: list[dict[str, str]] = [
    {"principal": "ward-2"},
    {"principal": "ward-2", "day": "2026-11-28"},
    {"principal": "ward-2", "model": "dose", "outcome": "ADVERSARIAL_INPUT"},
    {"day": "2026-11-27"},
    {"subject": "patient-3", "day": "2026-11-28"},
    {"request_id": "request-700"},
    {"model": "triage", "verdict": "adversarial"},
    {"verdict": "adversarial"},
    {"version": "1", "time": "2026-11-28T10:00:00.000501Z"},
    {"principal": "nobody"},
    {"day": "2026-11-26"},
    {"model": "ward-1"},
    {"since": "2026-11-27T10:00:00.000400Z", "until": "2026-11-28T10:00:00.000600Z"},
    {"principal": "ward-2", "since": "2026-11-28T00:00:00.000000Z"},
    {"principal": "ward-2", "until": "2026-11-27T10:00:00.000007Z"},
    {"since": "2026-11-29T00:00:00.000000Z"},
]


@pytest.mark.parametrize("where", SEARCHES, ids=lambda where: " ".join(where))
def test_a_search_finds_what_looking_at_each_entry_finds(
    log: AnswerLog, where: dict[str, str]
) -> None:
    def matches(number: int) -> bool:
        told = opening(number)
        values = dict(zip(answer_entry.FIELDS, told.fields, strict=True))
        values |= {"subject": told.subject, "day": told.day}
        since, until = (where.get(name, values["time"]) for name in ("since", "until"))
        named = {n: value for n, value in where.items() if n not in ("since", "until")}
        return named.items() <= values.items() and since <= values["time"] <= until

    for start, end in ((0, SIZE), (255, 700), (258, 259), (SIZE, SIZE)):
        if start < end:
            wanted = [number for number in range(start, end) if matches(number)]
            assert found(log, start, end, **where) == wanted


def test_a_search_by_value_alone_still_finds_it_in_any_field(log: AnswerLog) -> None:
    assert found(log, 0, SIZE, "ward-2", "adversarial") == [
        number for number in range(SIZE) if number % 3 == 1 and number % 10 == 0
    ]
    assert found(log, 0, SIZE, "request-900") == [900]
    assert found(log, 0, SIZE, "ward-2", model="dose") == list(range(1, SIZE, 6))
    with refused(Reason.ENTRY_UNKNOWN):
        found(log, 0, SIZE + 1, principal="ward-2")


def test_the_first_part_of_a_long_search_is_small(log: AnswerLog) -> None:
    """So that whoever looks at a page of it waits for few, and few are opened in vain."""
    parts = list(log.openings.find(0, SIZE, (), {"principal": "ward-2"}))
    assert [len(part.openings) for part in parts[:3]] == [32, 64, 128]
    assert parts[-1].next == SIZE


def test_a_search_holds_a_part_of_the_index_at_a_time(
    log: AnswerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found(log, principal="ward-2")
    monkeypatch.setattr(search, "SPAN", 300)
    assert found(log, principal="ward-2") == whole
    asked: list[int] = []
    original = Postings.find

    def counted(own: Any, connection: Any, start: int, end: int, where: Any) -> list[int]:
        asked.append(end - start)
        return original(own, connection, start, end, where)

    monkeypatch.setattr(Postings, "find", counted)
    parts = log.openings.find(0, SIZE, (), {"principal": "ward-2"})
    assert next(parts).openings
    # For the first page, no more of the log is looked at.
    assert asked == [300]
    assert list(parts)[-1].next == SIZE
    assert asked == [300, 300, 300, 200]


def indexed(database: Database) -> set[int]:
    """The entries that the index leads to."""
    with database.reading() as connection:
        rows = connection.execute(select(POSTINGS)).all()
    return {row.first + offset for row in rows for offset in bytes(row.offsets)}


def test_an_erasure_removes_the_index_of_its_entries_alone(
    log: AnswerLog, database: Database
) -> None:
    assert indexed(database) == set(range(SIZE))
    theirs = set(range(3, SIZE, 7))
    assert log.openings.erase("patient-3", SIZE) == len(theirs)
    assert indexed(database) == set(range(SIZE)) - theirs
    assert found(log, subject="patient-3") == []
    assert found(log, model="dose") == [n for n in range(1, SIZE, 2) if n not in theirs]
    assert log.openings.erase("patient-3", SIZE) == 0


def test_pruning_removes_the_index_of_pruned_entries_alone(
    log: AnswerLog, database: Database
) -> None:
    assert prune_leaves(database, 512) == 512
    assert indexed(database) == set(range(512, SIZE))
    assert found(log, principal="ward-1") == list(range(513, SIZE, 3))


def test_entries_committed_together_share_rows(log: AnswerLog, database: Database) -> None:
    with database.reading() as connection:
        rows = connection.execute(select(POSTINGS.c.offsets)).all()
        assert set(connection.scalars(select(DAYS.c.day))) == {"2026-11-27", "2026-11-28"}
    shared = [row for row in rows if len(row.offsets) > 1]
    # One for each request id, and a few dozen of the rest for each of seven groups.
    assert len(rows) - len(shared) < SIZE + 7 * 20
    assert len(shared) < 7 * 2 * (len(INDEXED) + 20)


class EndsEarly(MemorySubjects):
    """Subjects whose database is away after a while."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._left = calls

    def find(self, tags: Iterable[bytes]) -> dict[bytes, KnownSubject]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("killed")
        return SUBJECTS.find(tags)


@pytest.fixture
def plain(place: str) -> Database:
    """The log as release 0.1 left it: of its openings one was edited, one has no subject."""
    database = Database.open(place, "answers")
    with database.writing() as connection:
        revisions.downgrade(connection, "answers", "0001")
        connection.commit()
    log = TileLog.open(database, ANSWERS, ANSWER_LOG, key("answer-log"))
    many = 5000
    with log.lock, database.writing() as connection:
        for first in range(0, many, 250):
            leaves = [an_answer(n).leaf for n in range(first, first + 250)]
            appended = log.append(DriverTransaction.of(connection), leaves)
            connection.execute(
                insert(PLAIN_OPENINGS), [_plain(n) for n in range(first, first + 250)]
            )
            log.settle(appended)
        at = PLAIN_OPENINGS.c.index
        connection.execute(update(PLAIN_OPENINGS).where(at == 17).values(fields="[]"))
        connection.execute(update(PLAIN_OPENINGS).where(at == 18).values(subject="erased"))
        connection.commit()
    return database


def _plain(number: int) -> dict[str, Any]:
    told = opening(number)
    return {
        "index": number,
        "fields": json.dumps(told.fields),
        "nonce": told.nonce,
        "subject": told.subject,
    }


def test_plain_openings_are_encrypted_and_searched_the_same(
    plain: Database, place: str, tmp_path: Path
) -> None:
    plain.close()
    # It is ended in its second block, and goes on at the next start.
    with pytest.raises(RuntimeError, match="killed"):
        AnswerLog.open(place, ANSWER_LOG, key("answer-log"), EndsEarly(2))
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    wanted = [n for n in range(5000) if n % 3 == 2 and n % 2 and n not in (17, 18)]
    assert found(log, 0, 5000, principal="ward-3", model="dose") == wanted
    assert found(log, 0, 5000, "ward-3", "dose") == wanted
    assert log.opening(4999) == opening(4999)
    for index in (17, 18):
        with refused(Reason.ENTRY_UNKNOWN):
            log.opening(index)
    with Database.open(place, "answers").reading() as connection:
        assert not has_plain_openings(connection)
    assert log.append([an_answer(5000)]).first == 5000
    assert log.reader.verify().size == 5001
    log.close()
    data = b"".join(path.read_bytes() for path in tmp_path.glob("answers.db*"))
    assert not any(secret in data for secret in (b"patient-", b"ward-", b"adversarial"))


class Strangers(MemorySubjects):
    """Subjects of the same names in another installation."""

    def find(self, tags: Iterable[bytes]) -> dict[bytes, KnownSubject]:
        found = SUBJECTS.find(tags).items()
        return {tag: KnownSubject(each.name, bytes(32)) for tag, each in found}


@pytest.mark.parametrize("others", [MemorySubjects(), Strangers()], ids=["none", "strangers"])
def test_plain_openings_stay_where_the_subjects_are_others(
    plain: Database, place: str, others: MemorySubjects
) -> None:
    """As where their database was left behind, and an empty one begun in its place."""
    plain.close()
    with refused(Reason.INDEX_KEY_MISMATCH):
        AnswerLog.open(place, ANSWER_LOG, key("answer-log"), others)
    # With their own, nothing is lost.
    log = AnswerLog.open(place, ANSWER_LOG, key("answer-log"), SUBJECTS)
    assert log.opening(4999) == opening(4999)
    log.close()


def test_plain_openings_can_be_pruned_before_the_gateway_starts(
    plain: Database, place: str
) -> None:
    plain.close()
    database = Database.open(place, "answers")
    prune_leaves(database, 512)
    with database.reading() as connection:
        assert connection.scalars(select(PLAIN_OPENINGS.c.index).limit(1)).all() == [512]
    database.close()


@pytest.mark.no_tables
def test_subjects_of_an_earlier_release_get_tags(database_url: str) -> None:
    subjects = SubjectKeys.open(database_url)
    secret = subjects.key("patient-1")
    subjects.close()
    database = Database.open(database_url, "subjects")
    with database.writing() as connection:
        revisions.downgrade(connection, "subjects", "0001")
        connection.commit()
    database.close()
    for _ in range(2):
        subjects = SubjectKeys.open(database_url)
        tag = subjects.index_keys.tag("patient-1")
        assert subjects.find([tag, b"none"]) == {tag: KnownSubject("patient-1", secret)}
        subjects.close()
