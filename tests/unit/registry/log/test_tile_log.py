"""The writer of a log: what it appends, what it refuses to sign, and who may write."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, delete, insert, update

from registry.log.reader import LogReader
from registry.log.rows import ANSWERS, Appended
from registry.log.tile_log import TileLog
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.transparency import Checkpoint, merkle, open_checkpoint, sign_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, key, refused

SIGNER = key("answer-log")
# Sizes around the edges of tiles, and of groups.
GROUPS = (1, 1, 2, 5, 64, 183, 1, 255, 256, 256, 200, 57)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "log.db", "answers", busy_ms=50)
    yield database
    database.close()


def open_log(database: Database, **known: Checkpoint) -> TileLog:
    return TileLog.open(database, ANSWERS, ANSWER_LOG, SIGNER, **known)


def leaves(first: int, count: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(first, first + count)]


def append(database: Database, log: TileLog, group: Sequence[bytes]) -> Appended:
    with log.lock, database.appending() as transaction:
        log.check_turn(transaction)
        appended = log.append(transaction, group)
        transaction.commit()
        log.settle(appended)
    return appended


def grown(database: Database, *groups: int) -> TileLog:
    """A log that was appended to in groups of these sizes."""
    log = open_log(database)
    for count in groups:
        append(database, log, leaves(log.size, count))
    return log


def test_every_leaf_is_proved_into_its_checkpoint(database: Database) -> None:
    log = open_log(database)
    everything: list[bytes] = []
    for count in GROUPS:
        group = leaves(len(everything), count)
        appended = append(database, log, group)
        assert appended.first == len(everything)
        everything += group
        signed = open_checkpoint(appended.note, log.vkey)
        assert signed.size == appended.size == log.size == len(everything)
        assert signed.root == merkle.root([merkle.leaf_hash(leaf) for leaf in everything])
        for index, leaf in enumerate(group, appended.first):
            hashed, proof = merkle.leaf_hash(leaf), appended.proof(index)
            merkle.verify_inclusion(hashed, index, signed.size, proof, signed.root)


def test_it_goes_on_after_a_restart(database: Database) -> None:
    size = append(database, open_log(database), leaves(0, 1)).size
    for count in GROUPS:
        log = open_log(database)
        assert log.size == size
        size = append(database, log, leaves(size, count)).size
    reader = LogReader(database, ANSWERS, lambda: log.vkey)
    assert reader.verify().size == size == 1 + sum(GROUPS)


def test_a_new_log_signs_the_empty_tree(database: Database) -> None:
    log = open_log(database)
    signed = open_checkpoint(log.note, log.vkey)
    assert (signed.size, signed.root) == (0, merkle.EMPTY_ROOT)
    assert open_log(database).note == log.note


@pytest.mark.parametrize("group", [[], [b""] * 257, [b"x" * 65536]])
def test_a_group_of_another_size_is_a_mistake(database: Database, group: list[bytes]) -> None:
    log = open_log(database)
    with pytest.raises(ValueError, match="a group has"):
        append(database, log, group)
    assert log.size == 0


class TestFencing:
    def test_the_later_writer_shuts_the_earlier_out(self, database: Database) -> None:
        earlier = grown(database, 3)
        later = open_log(database)
        with refused(Reason.LOG_FENCED):
            append(database, earlier, leaves(3, 1))
        append(database, later, leaves(3, 1))
        with refused(Reason.LOG_FENCED):
            append(database, earlier, leaves(4, 1))
        assert later.size == 4

    def test_the_tables_are_of_one_log(self, database: Database) -> None:
        grown(database, 3)
        with refused(Reason.LOG_INCONSISTENT):
            TileLog.open(database, ANSWERS, "example.org/other", SIGNER)

    def test_another_key_does_not_go_on(self, database: Database) -> None:
        grown(database, 3)
        with refused(Reason.LOG_INCONSISTENT):
            TileLog.open(database, ANSWERS, ANSWER_LOG, key("other"))


class TestCommit:
    def test_a_failed_one_leaves_the_log_as_it_was(self, database: Database) -> None:
        log = grown(database, 3)
        note = log.note
        with log.lock, database.appending() as transaction:
            log.check_turn(transaction)
            log.append(transaction, leaves(3, 5))
        assert (log.size, log.note) == (3, note)
        assert append(database, log, leaves(3, 1)).size == 4
        assert LogReader(database, ANSWERS, lambda: log.vkey).verify().size == 4

    def test_one_that_was_reported_as_failed_but_was_not(self, database: Database) -> None:
        log = grown(database, 3)
        with log.lock, database.appending() as transaction:
            log.check_turn(transaction)
            log.append(transaction, leaves(3, 5))
            transaction.commit()
        # The connection broke before the answer came: nobody settled.
        assert append(database, log, leaves(8, 1)).first == 8
        assert LogReader(database, ANSWERS, lambda: log.vkey).verify().size == 9


Edit = Callable[[Connection], object]


def drop_newest(connection: Connection) -> None:
    checkpoints = ANSWERS.checkpoints
    connection.execute(delete(checkpoints).where(checkpoints.c.size == 300))


def cut_short(connection: Connection) -> None:
    """Everything as it was at 200 leaves, tiles apart."""
    drop_newest(connection)
    connection.execute(delete(ANSWERS.leaves).where(ANSWERS.leaves.c.index >= 200))


def fork(connection: Connection) -> None:
    """A checkpoint by the log's own key over another tree."""
    note = sign_checkpoint(Checkpoint(ANSWER_LOG, 300, b"f" * 32), SIGNER)
    replace_note(connection, note)


def forge(connection: Connection) -> None:
    note = sign_checkpoint(Checkpoint(ANSWER_LOG, 300, b"f" * 32), key("other"))
    replace_note(connection, note)


def grow(connection: Connection) -> None:
    """A leaf that no checkpoint covers."""
    connection.execute(insert(ANSWERS.leaves), {"index": 300, "data": b"more"})


def replace_note(connection: Connection, note: str) -> None:
    checkpoints = ANSWERS.checkpoints
    connection.execute(update(checkpoints).where(checkpoints.c.size == 300).values(note=note))


def all_of(table: Table) -> Edit:
    return lambda connection: connection.execute(delete(table))


EDITS: dict[str, Edit] = {
    "no newest checkpoint": drop_newest,
    "cut short": cut_short,
    "forked": fork,
    "forged": forge,
    "a leaf more": grow,
    "no checkpoints": all_of(ANSWERS.checkpoints),
    "no tiles": all_of(ANSWERS.tiles),
    "no leaves": all_of(ANSWERS.leaves),
    "other tiles": lambda c: c.execute(update(ANSWERS.tiles).values(hashes=b"t" * 8192)),
    "short tiles": lambda c: c.execute(update(ANSWERS.tiles).values(hashes=b"t" * 32)),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_log_is_not_gone_on_with(database: Database, name: str) -> None:
    log = grown(database, 200, 100)
    with database.writing() as connection:
        EDITS[name](connection)
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        open_log(database)
    with refused(Reason.LOG_INCONSISTENT):
        LogReader(database, ANSWERS, lambda: log.vkey).verify()


@pytest.mark.parametrize("edit", [drop_newest, cut_short, fork, forge])
def test_a_running_log_signs_neither_a_smaller_nor_a_forked_tree(
    database: Database, edit: Edit
) -> None:
    log = grown(database, 200, 100)
    with database.writing() as connection:
        edit(connection)
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        append(database, log, leaves(300, 1))


class TestKnownCheckpoint:
    def test_that_it_extends(self, database: Database) -> None:
        log = open_log(database)
        known = []
        for count in GROUPS:
            append(database, log, leaves(log.size, count))
            known.append(open_checkpoint(log.note, log.vkey))
        for checkpoint in known:
            assert open_log(database, known=checkpoint).size == sum(GROUPS)

    def test_that_is_ahead(self, database: Database, tmp_path: Path) -> None:
        ahead = open_checkpoint(grown(database, 5).note, open_log(database).vkey)
        other = Database.open(tmp_path / "older.db", "answers")
        append(other, open_log(other), leaves(0, 4))
        with refused(Reason.LOG_INCONSISTENT):
            open_log(other, known=ahead)
        other.close()

    def test_of_another_history(self, database: Database) -> None:
        grown(database, 5)
        with refused(Reason.LOG_INCONSISTENT):
            open_log(database, known=Checkpoint(ANSWER_LOG, 3, b"o" * 32))

    def test_that_refused_does_not_take_the_log_over(self, database: Database) -> None:
        log = grown(database, 5)
        with refused(Reason.LOG_INCONSISTENT):
            open_log(database, known=Checkpoint(ANSWER_LOG, 3, b"o" * 32))
        assert append(database, log, leaves(5, 1)).size == 6
