"""The answer log: the record of answered and refused requests of one gateway.

A group of answers is one transaction, one signature and one durable write. Beside each leaf,
which holds commitments alone, the log keeps what they commit to, so that an auditor can be shown
more than the caller's receipt opens: encrypted under a key of its subject, and found by keyed tags.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, insert, select

from registry.answers.encryption import (
    IV_BYTES,
    EncryptedOpening,
    IndexKeys,
    Opening,
    OpeningCipher,
    Subjects,
)
from registry.answers.entries import Entries, EntryMaker, entry_maker
from registry.answers.index import Postings
from registry.answers.outcomes import ReportIndex, ReportRows
from registry.answers.plain_openings import encrypt_plain_openings
from registry.answers.search import Openings
from registry.log.appended import Appended, CheckpointMemory
from registry.log.cose_receipts import CoseReceipts
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS, INDEX_KEY, OPENINGS, inconsistent, run_deferred_triggers
from registry.log.tile_log import TileLog
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import leaf_hash


class LoggedAnswer(NamedTuple):
    """One answer or refusal to be recorded: the leaf and its opening, and what follows from both
    where that is known.
    """

    leaf: bytes
    opening: Opening
    hash: bytes | None = None
    encrypted: EncryptedOpening | None = None


class AnswerLog:
    """The one writer of an answer log, and its reader."""

    def __init__(
        self,
        database: Database,
        log: TileLog,
        subjects: Subjects,
        make: EntryMaker | None = None,
    ) -> None:
        """`make` makes entries; without it, the fastest that is installed does."""
        self.database = database
        self._log = log
        self._cipher = OpeningCipher(subjects)
        self._postings = Postings(subjects.index_keys)
        self._make = make or entry_maker()
        self._reports = ReportIndex(database)
        self._checkpointer = database.checkpointer()
        self.reader = LogReader(database, ANSWERS, lambda: log.vkey)
        self.openings = Openings(database, self._cipher, self._postings)
        self.cose_receipts = CoseReceipts(log, self.reader, self._look)

    @classmethod
    def open(
        cls,
        place: Path | str,
        origin: str,
        signer: Signer,
        subjects: Subjects,
        *,
        known: Checkpoint | None = None,
        memory: CheckpointMemory | None = None,
        make: EntryMaker | None = None,
    ) -> "AnswerLog":
        """Open the log at `place`, a SQLite file or a URL, or begin it; see `TileLog.open`.

        `known` is the newest checkpoint that the registry's log has anchored; `memory` has each
        checkpoint before an answer that it covers leaves. Openings that an earlier release left in
        plain text are encrypted first. Raises SealgateError: INDEX_KEY_MISMATCH
        where the index was made with the key of other `subjects`; LOG_INCONSISTENT,
        REGISTRY_UNAVAILABLE or RECORD_FAILED.
        """
        database = Database.open(place, "answers")
        try:
            with database.writing() as connection:
                _check_index_key(connection, subjects.index_keys)
                connection.commit()
            log = TileLog.open(database, ANSWERS, origin, signer, known=known, memory=memory)
            encrypt_plain_openings(database, subjects)
            return cls(database, log, subjects, make)
        except BaseException:
            database.close()
            raise

    @property
    def origin(self) -> str:
        return self._log.origin

    @property
    def note(self) -> str:
        """The newest signed checkpoint, from memory."""
        return self._log.note

    @property
    def size(self) -> int:
        """Return the number of recorded answers, from memory."""
        return self._log.size

    def hand_over(self, wanted: str) -> bool:
        """Go on under the next key where a policy's `wanted` names it; see `TileLog.hand_over`."""
        return self._log.hand_over(self.database, wanted)

    def end_hand_over(self) -> None:
        """Sign with the new key alone."""
        self._log.end_hand_over()

    def halt(self, detail: str) -> None:
        """Record nothing any more; see `TileLog.halt`."""
        self._log.halt(detail)

    def entries(self, openings: Sequence[Opening]) -> tuple[list[LoggedAnswer], Entries]:
        """Make the entries of one or more openings, as `append` takes them, and what makes their
        receipts.

        Raises an exception where one of them cannot be that of an entry.
        """
        days, owners, keys = zip(*self._cipher.plan(openings), strict=True)
        made = self._make(openings, keys, os.urandom(IV_BYTES * len(openings)))
        stored = map(EncryptedOpening, days, owners, made.sealed)
        answers = list(map(LoggedAnswer, made.leaves, openings, made.hashes, stored))
        return answers, made

    def append(self, answers: Sequence[LoggedAnswer]) -> Appended:
        """Record 1 to 256 answers together; on return they are on the disk.

        What was written is read back first, for a trigger in the database may have changed it.

        Raises SealgateError: RECORD_FAILED or REGISTRY_UNAVAILABLE, and then nothing is recorded;
        LOG_FENCED, LOG_INCONSISTENT.
        """
        leaves = [answer.leaf for answer in answers]
        hashes = [answer.hash or leaf_hash(answer.leaf) for answer in answers]
        encrypted = [
            answer.encrypted or self._cipher.encrypt(answer.leaf, answer.opening)
            for answer in answers
        ]
        openings = [answer.opening for answer in answers]
        group = self._postings.group(enumerate(openings))
        with self._log.lock, self.database.appending() as transaction:
            self._log.check_turn(transaction)
            appended = self._log.append(transaction, leaves, hashes)
            rows = [(index, *each) for index, each in enumerate(encrypted, appended.first)]
            transaction.run_many(_ADD_OPENING, rows)
            self._postings.add(transaction, appended.first, group)
            reports = self._reports.add(transaction, appended.first, openings)
            self._check_written(transaction, appended, leaves, rows, reports)
            transaction.commit()
            self._log.settle(appended)
            self._postings.settle(appended.first, group)
            self._reports.settle(reports)
        if self._checkpointer is not None:
            self._checkpointer.written(len(leaves))
        return appended

    def _check_written(
        self,
        transaction: DriverTransaction,
        appended: Appended,
        leaves: Sequence[bytes],
        openings: Sequence[tuple[Any, ...]],
        reports: ReportRows,
    ) -> None:
        """Check, last before the commit, that leaves, openings and reports are there as they were
        added.
        """
        run_deferred_triggers(transaction)
        stored = transaction.all(_READ_BACK, (appended.first, appended.size))
        if stored != [(leaf, *row) for leaf, row in zip(leaves, openings, strict=True)]:
            raise inconsistent(f"{self.origin}: a trigger changed entries from {appended.first} on")
        self._reports.check(transaction, reports)

    def _look(self) -> None:
        """Check that the database extends what was recorded here."""
        seen = self._log.seen
        with self.database.reading() as connection:
            self._log.check_newest(connection, seen)

    def opening(self, index: int) -> Opening:
        """Return what entry `index` commits to. Raises SealgateError as `Openings.get`."""
        return self.openings.get(index)

    def reports(self, entries: Sequence[int]) -> Mapping[int, int]:
        """The entries that report the outcomes of these. Raises
        SealgateError(REGISTRY_UNAVAILABLE).
        """
        return self._reports.find(entries)

    def is_first_report(self, entry: int, report: int) -> bool:
        """Whether `report`, an entry that reports `entry`, is the earliest; see `ReportIndex`."""
        return self._reports.is_first(entry, report)

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        self.database.close()


def _read_back() -> Select[Any]:
    """The leaves and openings from `first` up to `size`, in one statement."""
    leaf, opening = ANSWERS.leaves.c, OPENINGS.c
    return (
        select(leaf.data, *opening)
        .join_from(ANSWERS.leaves, OPENINGS, leaf.index == opening.index)
        .where(leaf.index >= bindparam("first"), leaf.index < bindparam("size"))
        .order_by(leaf.index)
    )


_ADD_OPENING = Prepared(insert(OPENINGS), "index", "day", "owner", "sealed")
_READ_BACK = Prepared(_read_back(), "first", "size")


def _check_index_key(connection: Connection, keys: IndexKeys) -> None:
    """Check that the index was made with these keys, or note that it will be."""
    made_with = connection.scalars(select(INDEX_KEY.c.identity)).all()
    if not made_with and connection.scalar(select(OPENINGS.c.index).limit(1)) is None:
        connection.execute(insert(INDEX_KEY), {"identity": keys.identity})
    elif list(made_with) != [keys.identity]:
        raise SealgateError(Reason.INDEX_KEY_MISMATCH, "the answer log has another one")
