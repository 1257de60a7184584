"""Attacks on an answer log's database alone: its files tell nothing, and edits open nothing."""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from registry.answers.subject_keys import SubjectKeys
from sealgate.reasons import Reason
from sealgate.trust.receipts import answer_entry
from tests.support.builders.documents.people import ANSWER_LOG, key, refused

SUBJECT, CALLER = "patient-4711", "mtls:ward-7.example.org"
# Twenty questions that a form allows: yes or no, by age.
INPUTS = [
    answer_entry.tensors_digest([("age", "INT64", (1,), age.to_bytes(8, "little"))])
    for age in range(20)
]


@pytest.fixture
def subjects(tmp_path: Path) -> Iterator[SubjectKeys]:
    (tmp_path / "keys").mkdir()
    subjects = SubjectKeys.open(tmp_path / "keys" / "subjects.db")
    yield subjects
    subjects.close()


@pytest.fixture
def log(tmp_path: Path, subjects: SubjectKeys) -> Iterator[AnswerLog]:
    log = open_log(tmp_path, subjects)
    log.append([about(subjects, number) for number in range(20)])
    yield log
    log.close()


def open_log(folder: Path, subjects: SubjectKeys) -> AnswerLog:
    return AnswerLog.open(folder / "answers.db", ANSWER_LOG, key("answer-log"), subjects)


def about(subjects: SubjectKeys, number: int, subject: str = SUBJECT) -> LoggedAnswer:
    fields = {
        **dict.fromkeys(answer_entry.FIELDS, ""),
        "time": f"2026-11-28T10:00:{number:02}.000000Z",
        "principal": CALLER,
        "model": "triage",
        "input": INPUTS[number],
        "outcome": "answered",
        "verdict": "adversarial",
    }
    values, nonce = tuple(fields.values()), number.to_bytes(16)
    opening = Opening(values, nonce, subject, subjects.key(subject))
    return LoggedAnswer(answer_entry.leaf(values, answer_entry.salts(opening.key, nonce)), opening)


def files(folder: Path) -> bytes:
    """The answer log's files, its write-ahead log too."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("answers.db*")))


def edit(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "answers.db")) as connection:
        assert connection.execute(statement, values).rowcount
        connection.commit()


def test_the_files_tell_no_subject_caller_verdict_or_input(log: AnswerLog, tmp_path: Path) -> None:
    data = files(tmp_path)
    for secret in (SUBJECT, CALLER, "triage", "adversarial", "answered", INPUTS[7]):
        assert secret.encode() not in data, secret


def test_a_dictionary_of_likely_inputs_matches_nothing(log: AnswerLog, tmp_path: Path) -> None:
    data = files(tmp_path)
    matched = [guess for guess in INPUTS for form in forms(guess) if form in data]
    assert matched == []


def forms(guess: str) -> Iterator[bytes]:
    """How a guess could be stored: as it is, its bytes, or hashed without a key."""
    yield guess.encode()
    yield bytes.fromhex(guess.removeprefix("sha256:"))
    for text in (guess, f"input\0{guess}", f"input\x002026-11-28\0{guess}"):
        yield hashlib.sha256(text.encode()).digest()[:8]


def test_a_backup_from_before_an_erasure_opens_nothing(
    log: AnswerLog, subjects: SubjectKeys, tmp_path: Path
) -> None:
    log.append([about(subjects, 3, "patient-4712")])
    log.close()
    shutil.copytree(tmp_path, tmp_path / "backup", ignore=shutil.ignore_patterns("keys"))
    with closing(open_log(tmp_path, subjects)) as again:
        subjects.destroy(SUBJECT)
        assert again.openings.erase(SUBJECT, 21) == 20
        subjects.purge()
    with closing(open_log(tmp_path / "backup", subjects)) as restored:
        for index in range(20):
            with refused(Reason.ENTRY_UNKNOWN):
                restored.opening(index)
        (found,) = restored.openings.find(0, 21, [])
        assert found.missing == tuple(range(20))
        assert [opening.subject for _, opening in found.openings] == ["patient-4712"]
        # The person is met again, under a new key: what was erased stays closed.
        subjects.key(SUBJECT)
        with refused(Reason.ENTRY_UNKNOWN):
            restored.opening(0)
        # Erasing again finds the rows by their tags, though the key is gone.
        assert restored.openings.erase(SUBJECT, 21) == 20


OTHER = """FROM (SELECT o.*, l.data FROM log_sealed_openings AS o, log_leaves AS l
    WHERE o."index" = 4 AND l."index" = 4) AS other"""
EXCHANGES = {
    "sealed": ("log_sealed_openings", "sealed = other.sealed"),
    "owner and sealed": (
        "log_sealed_openings",
        "owner = other.owner, sealed = other.sealed",
    ),
    "leaf": ("log_leaves", "data = other.data"),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchanged_rows_open_nothing(log: AnswerLog, tmp_path: Path, name: str) -> None:
    table, change = EXCHANGES[name]
    edit(tmp_path, " ".join(("UPDATE", table, "SET", change, OTHER, f'WHERE {table}."index" = 3')))
    with refused(Reason.LOG_INCONSISTENT):
        log.opening(3)
    assert log.opening(4).fields[8] == INPUTS[4]
    (found,) = log.openings.find(0, 20, [])
    assert found.missing == (3,)


def test_an_index_that_leads_elsewhere_finds_nothing_wrong(
    log: AnswerLog, subjects: SubjectKeys, tmp_path: Path
) -> None:
    other = subjects.index_keys.posting("principal", "2026-11-28", "somebody else")
    edit(tmp_path, "UPDATE log_postings SET tag = ? WHERE tag = ?", other, caller_tag(subjects))
    for where in ({"principal": "somebody else"}, {"principal": CALLER}):
        (found,) = log.openings.find(0, 20, [], where)
        assert (found.next, found.openings) == (20, ())


def caller_tag(subjects: SubjectKeys) -> int:
    return subjects.index_keys.posting("principal", "2026-11-28", CALLER)


def test_a_log_is_not_opened_with_other_subjects(
    log: AnswerLog, subjects: SubjectKeys, tmp_path: Path
) -> None:
    log.close()
    with (
        closing(SubjectKeys.open(tmp_path / "other.db")) as other,
        refused(Reason.INDEX_KEY_MISMATCH),
    ):
        open_log(tmp_path, other)
    edit(tmp_path, "DELETE FROM log_index_key")
    with refused(Reason.INDEX_KEY_MISMATCH):
        open_log(tmp_path, subjects)


def test_subjects_without_their_index_key_are_not_opened(tmp_path: Path) -> None:
    place = tmp_path / "subjects.db"
    with closing(SubjectKeys.open(place)) as subjects:
        subjects.key(SUBJECT)
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("DELETE FROM index_key")
        connection.commit()
    with refused(Reason.INDEX_KEY_MISMATCH):
        SubjectKeys.open(place)
