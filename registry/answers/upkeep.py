"""Upkeep of an answer log: old answers are pruned, and openings of release 0.1 are encrypted.

Pruning removes entries and keeps every hash of the tree, so all checkpoints and proofs hold. It can
end anywhere: whoever begins again goes on from there.

Release 0.1 stored openings as plain text. They are encrypted in three steps, and each goes on where
it was ended:

1. In blocks, each one transaction: openings whose subject has a key are encrypted and indexed, all
   of the block's plain ones are deleted.
2. The database's files are rewritten, so that nothing of them is left in free pages.
3. The empty table is dropped, which says that it is done.
"""

import logging

from sqlalchemy import Connection, RowMapping, delete, func, insert, inspect, select

from registry.answers.encryption import (
    KnownSubject,
    Opening,
    OpeningCipher,
    Subjects,
    read_fields,
)
from registry.answers.index import GROUP, Postings, forget_reports_before, remove_before
from registry.log import rows
from registry.log.rows import ANSWERS, OPENINGS, PLAIN_OPENINGS, POSTINGS, TileRows, inconsistent
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts import answer_entry
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.trust.transparency.tiles import WIDTH

# The gateway's own answers wait while a few tiles are removed.
_TILES_AT_ONCE = 16
_BLOCK = 16 * GROUP
_TOLD_EVERY = 100 * _BLOCK
_SAMPLE = 1000
_log = logging.getLogger(__name__)


def prune_leaves(database: Database, size: int) -> int:
    """Remove leaves and openings of the first `size` entries; return how many leaves went.

    `size` is that of full tiles, and the log has more entries. A tile's leaves go only if its
    hashes are theirs: altered leaves stay, for an investigation. Removed rows are removed from the
    database's files too. Raises SealgateError: LOG_INCONSISTENT, RECORD_FAILED,
    REGISTRY_UNAVAILABLE, ERASURE_UNFINISHED; ValueError for another size.
    """
    if size % WIDTH or size < 0:
        raise ValueError("only full tiles are pruned")
    removed = _remove(database, size)
    # Also where nothing was left to remove: an earlier attempt may have failed here.
    database.purge(OPENINGS, POSTINGS, ANSWERS.leaves)
    return removed


def _remove(database: Database, size: int) -> int:
    removed = 0
    while True:
        with database.writing() as connection:
            if size >= max(1, rows.next_index(connection, ANSWERS)):
                raise ValueError("the newest entries stay")
            first = rows.first_index(connection, ANSWERS)
            if first >= size:
                # Those of entries whose leaves went before a crash are gone too by now.
                return removed
            last = min(size, first // WIDTH * WIDTH + _TILES_AT_ONCE * WIDTH)
            _check(connection, first, last)
            tables = [ANSWERS.leaves, OPENINGS]
            if has_plain_openings(connection):
                tables.append(PLAIN_OPENINGS)
            for table in tables:
                connection.execute(delete(table).where(table.c.index < last))
            remove_before(connection, last)
            forget_reports_before(connection, last)
            _check_removed(connection, last)
            connection.commit()
        removed += last - first


def _check_removed(connection: Connection, last: int) -> None:
    """Check before the commit that no trigger has kept or put back what was deleted."""
    rows.run_deferred_triggers(connection)
    for table in (ANSWERS.leaves, OPENINGS):
        kept = select(table.c.index).where(table.c.index < last).limit(1)
        if connection.scalar(kept) is not None:
            raise inconsistent(f"a trigger kept entries before {last}")


def _check(connection: Connection, first: int, last: int) -> None:
    """Compare leaves with the hashes that stay."""
    tiles = TileRows(connection, ANSWERS)
    if first % WIDTH:
        raise inconsistent(f"entries before {first} are missing, and no full tiles")
    leaves = [leaf for block in rows.leaves(connection, ANSWERS, first, last) for leaf in block]
    for at in range(0, len(leaves), WIDTH):
        index = (first + at) // WIDTH
        if b"".join(map(leaf_hash, leaves[at : at + WIDTH])) != tiles.read(0, index, WIDTH):
            raise inconsistent(f"tile 0/{index} holds other hashes than those of its entries")


def has_plain_openings(connection: Connection) -> bool:
    """Whether the log may still have openings in plain text."""
    return inspect(connection).has_table(PLAIN_OPENINGS.name)


def check_subjects(connection: Connection, subjects: Subjects) -> None:
    """Check that plain openings, if there are any, were made with keys of these subjects.

    Those without a key are deleted, as an erasure would have done; so with the database of other
    subjects, or an empty one, all would be. Raises SealgateError(INDEX_KEY_MISMATCH) where no
    subject of up to 1,000 has the key that its entry was made with.
    """
    if not has_plain_openings(connection):
        return
    of_each = (
        select(func.max(PLAIN_OPENINGS.c.index)).group_by(PLAIN_OPENINGS.c.subject).limit(_SAMPLE)
    )
    leaves = ANSWERS.leaves.c
    query = (
        select(PLAIN_OPENINGS, leaves.data)
        .join(ANSWERS.leaves, leaves.index == PLAIN_OPENINGS.c.index)
        .where(PLAIN_OPENINGS.c.index.in_(of_each))
    )
    rows = connection.execute(query).mappings().all()
    known = _known(subjects, {row["subject"] for row in rows})
    if rows and not any(_proves(row, known.get(row["subject"])) for row in rows):
        raise SealgateError(
            Reason.INDEX_KEY_MISMATCH, "it has the key of no subject whose openings are here"
        )


def _proves(row: RowMapping, subject: KnownSubject | None) -> bool:
    """Whether an opening leads to its entry with the subject's key."""
    fields = read_fields(row["fields"])
    if subject is None or not fields:
        return False
    salts = answer_entry.salts(subject.key, bytes(row["nonce"]), len(fields))
    return answer_entry.leaf(fields, salts) == bytes(row["data"])


def _known(subjects: Subjects, names: set[str]) -> dict[str, KnownSubject]:
    tag = subjects.index_keys.tag
    return {each.name: each for each in subjects.find(map(tag, names)).values()}


def encrypt_plain_openings(database: Database, subjects: Subjects) -> None:
    """Encrypt a log's plain openings with the keys of their subjects.

    Openings whose subject has no key are deleted: an erasure broke off before it got to them. So
    are those that somebody edited into what is none. Raises SealgateError: RECORD_FAILED,
    REGISTRY_UNAVAILABLE, ERASURE_UNFINISHED.
    """
    with database.reading() as connection:
        if not has_plain_openings(connection):
            return
        total = connection.scalar(select(func.count()).select_from(PLAIN_OPENINGS)) or 0
    _log.info("encrypting %d openings", total)
    step = _Encryption(subjects)
    # 1.
    while True:
        with database.writing() as connection:
            first = connection.scalar(select(func.min(PLAIN_OPENINGS.c.index)))
            if first is None:
                break
            step.encrypt(connection, int(first), int(first) + _BLOCK)
            connection.commit()
        if step.done % _TOLD_EVERY < _BLOCK:
            _log.info("encrypted %d of %d openings", step.done, total)
    # 2.
    database.purge(rewrite=True)
    # 3.
    with database.writing() as connection:
        PLAIN_OPENINGS.drop(connection)
        connection.commit()
    database.purge()
    _log.info("encrypted %d openings, deleted %d without a key", step.done, step.deleted)


class _Encryption:
    """Encrypts block after block, and counts."""

    def __init__(self, subjects: Subjects) -> None:
        self.done = 0
        self.deleted = 0
        self._subjects = subjects
        self._cipher = OpeningCipher(subjects)
        self._postings = Postings(subjects.index_keys)

    def encrypt(self, connection: Connection, first: int, end: int) -> None:
        plain = PLAIN_OPENINGS.c
        here = (plain.index >= first, plain.index < end)
        leaves = ANSWERS.leaves.c
        query = (
            select(PLAIN_OPENINGS, leaves.data)
            .join(ANSWERS.leaves, leaves.index == plain.index)
            .where(*here)
        )
        rows = connection.execute(query.order_by(plain.index)).mappings().all()
        known = _known(self._subjects, {row["subject"] for row in rows})
        encrypted = []
        groups: dict[int, list[tuple[int, Opening]]] = {}
        for row in rows:
            subject, fields = known.get(row["subject"]), read_fields(row["fields"])
            if subject is None or not fields:
                continue
            opening = Opening(fields, bytes(row["nonce"]), subject.name, subject.key)
            told = self._cipher.encrypt(bytes(row["data"]), opening)
            encrypted.append({"index": row["index"], **told._asdict()})
            number, offset = divmod(row["index"] - first, GROUP)
            groups.setdefault(number, []).append((offset, opening))
        if encrypted:
            connection.execute(insert(OPENINGS), encrypted)
        for number, openings in groups.items():
            group = self._postings.group(openings)
            self._postings.add(DriverTransaction.of(connection), first + number * GROUP, group)
        deleted = connection.execute(delete(PLAIN_OPENINGS).where(*here)).rowcount
        self.done += len(encrypted)
        self.deleted += deleted - len(encrypted)
