"""The answer log: the record of answered and refused requests of one gateway.

A group of answers is one transaction, one signature and one durable write. Beside each leaf,
which holds commitments alone, the log keeps what they commit to, so that an auditor can be shown
more than the caller's receipt opens: encrypted under a key of its subject, and found by keyed tags.

The native package (`sealgate_front.Entries`) makes a whole burst of entries in one call without the
interpreter's lock; `PythonEntries` is used where it is not installed, and is what it is tested
against. Both make the same bytes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Select, bindparam, insert, select

from registry.answers.encryption import (
    IV_BYTES,
    KEY_BYTES,
    EncryptedOpening,
    Opening,
    OpeningCipher,
    Subjects,
    padded,
)
from registry.answers.index import Postings, ReportIndex, ReportRows
from registry.answers.search import Openings
from registry.answers.upkeep import check_subjects, encrypt_plain_openings
from registry.log.reader import CoseReceipts, LogReader
from registry.log.rows import (
    ANSWERS,
    INDEX_KEY,
    OPENINGS,
    Appended,
    CheckpointMemory,
    inconsistent,
    run_deferred_triggers,
)
from registry.log.tile_log import TileLog
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction, Prepared
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.receipts import answer_entry, encode_caller_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import leaf_hash


class Entries(Protocol):
    """Entries of the newest format, in the order of the openings that they were made of.

    `sealed` are the encrypted openings.
    """

    @property
    def leaves(self) -> Sequence[bytes]: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    @property
    def sealed(self) -> Sequence[bytes]: ...

    def salts(self, at: int) -> bytes:
        """The salts of entry number `at`, one behind the other."""
        ...

    def receipt(self, at: int, index: int, path: str, tail: str) -> bytes:
        """The caller's receipt of entry number `at`, once it is at `index` of the log. For `path`
        and `tail` see `encode_caller_receipt`.
        """
        ...


class PythonEntries:
    """Entries made one after the other. `keys` encrypt the openings: 32 bytes of AES-256 and a
    key's id of 8 bytes. `ivs` are 12 random bytes for each.

    Raises an exception where an opening cannot be that of an entry, whichever it is.
    """

    def __init__(self, openings: Sequence[Opening], keys: Sequence[bytes], ivs: bytes) -> None:
        self._openings = openings
        self._salts = [answer_entry.salts(each.key, each.nonce) for each in openings]
        for each in openings:
            if len(each.fields) != len(FIELDS):
                raise ValueError("not the values of an entry")
        self.leaves = [
            answer_entry.leaf(each.fields, salts)
            for each, salts in zip(openings, self._salts, strict=True)
        ]
        self.hashes = list(map(leaf_hash, self.leaves))
        # Most entries of a burst have one key between them.
        ciphers = {key: AESGCM(key[:KEY_BYTES]) for key in set(keys)}
        self.sealed = []
        for at, (opening, key, leaf) in enumerate(zip(openings, keys, self.leaves, strict=True)):
            iv = ivs[at * IV_BYTES : (at + 1) * IV_BYTES]
            sealed = ciphers[key].encrypt(iv, padded(opening), leaf)
            self.sealed.append(key[KEY_BYTES:] + iv + sealed)

    def salts(self, at: int) -> bytes:
        return b"".join(self._salts[at])

    def receipt(self, at: int, index: int, path: str, tail: str) -> bytes:
        values = self._openings[at].fields
        return encode_caller_receipt(self.leaves[at], values, self._salts[at], index, path, tail)


EntryMaker = Callable[[Sequence[Opening], Sequence[bytes], bytes], Entries]


def entry_maker() -> EntryMaker:
    """The fastest that is installed."""
    try:
        from sealgate_front import Entries as NativeEntries
    except ImportError:
        return PythonEntries
    return NativeEntries


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
                _check_index_key(connection, subjects)
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

        The written rows are read back first, for a trigger in the database may have changed them.

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


def _check_index_key(connection: Connection, subjects: Subjects) -> None:
    """Check that the index was made with the keys of these subjects, or note that it will be."""
    keys = subjects.index_keys
    made_with = connection.scalars(select(INDEX_KEY.c.identity)).all()
    if not made_with and connection.scalar(select(OPENINGS.c.index).limit(1)) is None:
        check_subjects(connection, subjects)
        connection.execute(insert(INDEX_KEY), {"identity": keys.identity})
    elif list(made_with) != [keys.identity]:
        raise SealgateError(Reason.INDEX_KEY_MISMATCH, "the answer log has another one")
