"""Reading a log: entries, proofs for any size, and the check of the whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from registry.answers.answer_log import AnswerLog, LoggedAnswer, Opening
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS, OPENINGS
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, answer_entry, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.transparency import TlogProof, merkle, open_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, key, make_policy, refused
from tests.support.fakes import records
from tests.support.fakes.records import SUBJECTS

SIZE = 700
LEAVES = [f"leaf {number}".encode() for number in range(SIZE)]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]


def opening(number: int) -> Opening:
    values = (f"{number}", *FIELDS[1:])
    return records.opening(values, number.to_bytes(16), f"subject {number}")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AnswerLog]:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, key("answer-log"), SUBJECTS)
    for first in range(0, SIZE, 100):
        log.append([LoggedAnswer(LEAVES[n], opening(n)) for n in range(first, first + 100)])
    yield log
    log.close()


@pytest.fixture
def reader(log: AnswerLog) -> LogReader:
    return log.reader


def test_entries(reader: LogReader) -> None:
    assert reader.size() == SIZE
    assert [reader.entry(index) for index in (0, 255, 256, 699)] == [
        LEAVES[index] for index in (0, 255, 256, 699)
    ]
    assert [leaf for block in reader.entries(0, SIZE) for leaf in block] == LEAVES
    assert [leaf for block in reader.entries(3, 5) for leaf in block] == LEAVES[3:5]
    assert list(reader.entries(SIZE, SIZE)) == []


@pytest.mark.parametrize("index", [-1, SIZE])
def test_an_entry_that_is_none(reader: LogReader, index: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        reader.entry(index)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (5, 3), (0, SIZE + 1)])
def test_a_range_that_is_none(reader: LogReader, start: int, end: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        list(reader.entries(start, end))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 640, SIZE])
def test_inclusion_under_any_size(reader: LogReader, size: int) -> None:
    root = merkle.root(HASHES[:size])
    for index in {0, size // 3, size // 2, size - 1}:
        proof = reader.inclusion(index, size)
        merkle.verify_inclusion(HASHES[index], index, size, proof, root)


@pytest.mark.parametrize(
    ("old", "new"), [(0, 0), (0, 5), (5, 5), (1, 256), (255, 257), (300, SIZE)]
)
def test_consistency_of_any_sizes(reader: LogReader, old: int, new: int) -> None:
    roots = merkle.root(HASHES[:old]), merkle.root(HASHES[:new])
    merkle.verify_consistency(old, roots[0], new, roots[1], reader.consistency(old, new))


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, SIZE + 1), (0, 0)])
def test_inclusion_of_what_is_not_there(reader: LogReader, index: int, size: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        reader.inclusion(index, size)


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5), (0, SIZE + 1)])
def test_consistency_of_what_is_not_there(reader: LogReader, old: int, new: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        reader.consistency(old, new)


def test_checkpoint(reader: LogReader, log: AnswerLog) -> None:
    assert reader.checkpoint() == log.note
    assert open_checkpoint(log.note, reader.vkey).root == merkle.root(HASHES)


def test_a_log_that_was_never_opened(tmp_path: Path, log: AnswerLog) -> None:
    database = Database.open(tmp_path / "new.db", "answers")
    reader = LogReader(database, ANSWERS, lambda: log.reader.vkey)
    assert reader.size() == 0
    with refused(Reason.LOG_UNKNOWN):
        reader.checkpoint()
    with refused(Reason.ENTRY_UNKNOWN):
        reader.inclusion(0, 1)
    with refused(Reason.LOG_INCONSISTENT):
        reader.verify()
    database.close()


def test_verify_tells_how_far_it_is(reader: LogReader) -> None:
    told: list[tuple[int, int]] = []
    verified = reader.verify(lambda done, total: told.append((done, total)))
    assert (verified.size, verified.checkpoints) == (SIZE, 8)
    assert verified.root == merkle.root(HASHES)
    assert told == [(size, SIZE) for size in range(0, SIZE + 1, 100)]


_LEAVES, _TILES, _NOTES = ANSWERS.leaves, ANSWERS.tiles, ANSWERS.checkpoints
EDITS = {
    "an old leaf altered": update(_LEAVES).where(_LEAVES.c.index == 3).values(data=b"other"),
    "an old leaf deleted": delete(_LEAVES).where(_LEAVES.c.index == 3),
    "an old tile altered": update(_TILES)
    .where(_TILES.c.level == 0, _TILES.c.index == 0)
    .values(hashes=b"t" * 8192),
    "a tile deleted": delete(_TILES).where(_TILES.c.level == 0, _TILES.c.index == 1),
    "a tile added": insert(_TILES).values(level=3, index=0, hashes=b""),
    "a tile lengthened": update(_TILES).where(_TILES.c.level == 1).values(hashes=b"t" * 8192),
    "an old checkpoint altered": update(_NOTES).where(_NOTES.c.size == 100).values(note="note"),
    "an old checkpoint moved": update(_NOTES).where(_NOTES.c.size == 100).values(size=101),
}


@pytest.mark.parametrize("name", EDITS)
def test_verify_finds_what_opening_does_not_look_at(
    tmp_path: Path, log: AnswerLog, name: str
) -> None:
    database = Database.open(tmp_path / "answers.db", "answers")
    with database.writing() as connection:
        connection.execute(EDITS[name])
        connection.commit()
    database.close()
    with refused(Reason.LOG_INCONSISTENT):
        log.reader.verify()


class TestOpening:
    def test_comes_back(self, log: AnswerLog) -> None:
        for number in (0, 99, 100, SIZE - 1):
            assert log.opening(number) == opening(number)

    def test_of_any_text(self, log: AnswerLog) -> None:
        values = ("\n", "\x00", '"', "\\", "é", "", "\x1f", *FIELDS[7:])
        appended = log.append([LoggedAnswer(b"leaf", records.opening(values, subject=""))])
        assert log.opening(appended.first).fields == values

    def test_without_any_value(self, log: AnswerLog) -> None:
        values = ("",) * len(FIELDS)
        for _ in range(2):
            appended = log.append([LoggedAnswer(b"leaf", records.opening(values, subject=""))])
            assert log.opening(appended.first).fields == values

    def test_of_no_entry(self, log: AnswerLog) -> None:
        with refused(Reason.ENTRY_UNKNOWN):
            log.opening(SIZE)

    def test_of_other_fields(self, tmp_path: Path, log: AnswerLog) -> None:
        database = Database.open(tmp_path / "answers.db", "answers")
        with database.writing() as connection:
            connection.execute(update(OPENINGS).values(sealed=b""))
            connection.commit()
        database.close()
        with refused(Reason.LOG_INCONSISTENT):
            log.opening(0)


def test_an_append_makes_a_receipt(log: AnswerLog) -> None:
    salts = answer_entry.salts(b"a subject's key", b"n" * 16)
    leaf = answer_entry.leaf(FIELDS, salts)
    appended = log.append([LoggedAnswer(leaf, records.opening(FIELDS, b"n" * 16))] * 3)
    for index in range(appended.first, appended.size):
        proof = TlogProof(index, appended.proof(index), appended.note)
        receipt = Receipt.of(leaf, FIELDS, salts, proof)
        verified = verify_receipt(Receipt.decode(receipt.encode()), make_policy())
        assert verified.checkpoint.size == appended.size
