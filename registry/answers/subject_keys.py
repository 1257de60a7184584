"""The keys of the subjects of records, stored apart from the log so that they can be destroyed.

An entry's salts derive from its subject's key, and so does the key that encrypts what the entry
commits to. Destroying the subject's key erases both, in backups of the log too, while the log still
verifies. The secret of the answer log's index is kept here as well; see
`registry.answers.encryption`.
"""

import functools
import logging
import secrets
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from registry.answers.encryption import SECRET_BYTES, IndexKeys, KnownSubject
from registry.log.rows import CONSTRAINT_NAMES, inconsistent, run_deferred_triggers
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

_log = logging.getLogger(__name__)

_KEY_BYTES = 32
_CACHED = 4096
# The prefix of the key's digest, so that it is no salt of an entry.
_DIGEST_PREFIX = b"sealgate/subject-key/v1\n"
_FOUND_AT_ONCE = 500

METADATA = MetaData(naming_convention=CONSTRAINT_NAMES)
SUBJECT_KEYS = Table(
    "subject_keys",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    # By which entries name the subject. Rows of release 0.1 get theirs when this is opened.
    Column("tag", LargeBinary, index=True, unique=True),
)

# One row: what the keys of the answer log's index derive from.
INDEX_KEY = Table("index_key", METADATA, Column("secret", LargeBinary, primary_key=True))


def key_digest(key: bytes) -> str:
    """Return the digest by which a destroyed key is recognised; it reveals neither."""
    return sha256(_DIGEST_PREFIX + key)


class SubjectKeys:
    """A 32-byte key for each subject, made when the subject is first met.

    A key whose digest is among those of destroyed keys is destroyed again wherever it turns up: an
    old copy of the database was put back.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.writing() as connection:
            self.index_keys = _index_keys(connection)
            _add_tags(connection, self.index_keys)
            connection.commit()
        # On the request path, so the keys of those met lately stay in memory. A key that was being
        # loaded when it was destroyed belongs to an epoch that nobody asks for any more.
        self.cached = functools.lru_cache(_CACHED)(self._load_or_make)
        self._epoch = 0
        self._destroyed: set[str] = set()

    @classmethod
    def open(cls, place: Path | str, destroyed: Iterable[str] = ()) -> "SubjectKeys":
        """Open the SQLite file or the URL, or begin it, and destroy what an erasure destroyed.

        `destroyed` are the digests of keys that erasures destroyed. Raises: REGISTRY_UNAVAILABLE,
        RECORD_FAILED; INDEX_KEY_MISMATCH where the index key was removed.
        """
        database = Database.open(place, "subjects")
        try:
            keys = cls(database)
            keys._destroyed.update(destroyed)
            keys._destroy_again()
        except BaseException:
            database.close()
            raise
        return keys

    def key(self, subject: str) -> bytes:
        """The subject's key, made where there is none.

        Raises: RECORD_FAILED; LOG_INCONSISTENT where a trigger changes a new one.
        """
        return self.cached(self._epoch, subject)

    def known_key(self, subject: str) -> bytes:
        """The subject's key. Raises: ENTRY_UNKNOWN where it was never made, or is destroyed."""
        with self.database.reading() as connection:
            key = _stored(connection, subject)
        if key is None or key_digest(key) in self._destroyed:
            raise SealgateError(Reason.ENTRY_UNKNOWN, "the subject has no key")
        return key

    def digest(self, subject: str) -> str | None:
        """The digest of the subject's key, if there is one. Raises: REGISTRY_UNAVAILABLE."""
        with self.database.reading() as connection:
            key = _stored(connection, subject)
        return None if key is None else key_digest(key)

    def find(self, tags: Iterable[bytes]) -> dict[bytes, KnownSubject]:
        """The subjects with these tags that have a key. Raises: REGISTRY_UNAVAILABLE."""
        wanted, found = list(tags), {}
        for at in range(0, len(wanted), _FOUND_AT_ONCE):
            some = SUBJECT_KEYS.c.tag.in_(wanted[at : at + _FOUND_AT_ONCE])
            with self.database.reading() as connection:
                for subject, stored, tag in connection.execute(select(SUBJECT_KEYS).where(some)):
                    key = _as_bytes(stored)
                    if key_digest(key) not in self._destroyed:
                        found[bytes(tag)] = KnownSubject(subject, key)
        return found

    def destroy(self, subject: str) -> None:
        """Destroy the subject's key permanently; `purge` removes what is left of it in files.

        Raises: RECORD_FAILED; LOG_INCONSISTENT where a trigger undoes it.
        """
        with self.database.writing() as connection:
            key = _stored(connection, subject)
            connection.execute(delete(SUBJECT_KEYS).where(SUBJECT_KEYS.c.subject == subject))
            _check_stored(connection, subject, None)
            connection.commit()
        if key is not None:
            self._destroyed.add(key_digest(key))
        self._epoch += 1
        self.cached.cache_clear()

    def purge(self) -> None:
        """Remove destroyed keys and their subjects from the database's files.

        Raises SealgateError(ERASURE_UNFINISHED).
        """
        self.database.purge(SUBJECT_KEYS, rewrite=True)

    def close(self) -> None:
        self.database.close()

    def _load_or_make(self, _epoch: int, subject: str) -> bytes:
        with self.database.writing() as connection:
            key = _stored(connection, subject)
            if key is not None and key_digest(key) in self._destroyed:
                _log.error("a destroyed key was put back: it is destroyed again")
                connection.execute(delete(SUBJECT_KEYS).where(SUBJECT_KEYS.c.subject == subject))
                key = None
            if key is None:
                key = secrets.token_bytes(_KEY_BYTES)
                row = {"subject": subject, "key": key, "tag": self.index_keys.tag(subject)}
                connection.execute(insert(SUBJECT_KEYS), row)
                _check_stored(connection, subject, key)
                connection.commit()
        return key

    def _destroy_again(self) -> None:
        """Destroy the keys that are destroyed already, and what earlier deletions have left."""
        with self.database.reading() as connection:
            rows = connection.execute(select(SUBJECT_KEYS)) if self._destroyed else ()
            again = [
                row.subject for row in rows if key_digest(_as_bytes(row.key)) in self._destroyed
            ]
        if again:
            _log.error("%d destroyed keys were put back: they are destroyed again", len(again))
        for subject in again:
            self.destroy(subject)
        try:
            self.purge()
        except SealgateError as refusal:
            _log.warning("the database of subjects was not purged: %s", refusal)


def _stored(connection: Connection, subject: str) -> bytes | None:
    query = select(SUBJECT_KEYS.c.key).where(SUBJECT_KEYS.c.subject == subject)
    key = connection.scalar(query)
    return None if key is None else _as_bytes(key)


def _as_bytes(stored: object) -> bytes:
    """SQLite stores whatever somebody writes into a column: text and numbers are no keys of ours,
    and must be destroyed like one.
    """
    return stored if isinstance(stored, bytes) else str(stored).encode()


def _check_stored(connection: Connection, subject: str, key: bytes | None) -> None:
    """Check before the commit what a trigger may have undone. Raises
    SealgateError(LOG_INCONSISTENT).
    """
    run_deferred_triggers(connection)
    if _stored(connection, subject) != key:
        raise inconsistent("a trigger changed a subject's key")


def _index_keys(connection: Connection) -> IndexKeys:
    """The keys of the index, made where no subject has a tag yet."""
    secret = connection.scalar(select(INDEX_KEY.c.secret))
    if secret is None:
        tagged = select(SUBJECT_KEYS.c.tag).where(SUBJECT_KEYS.c.tag.is_not(None)).limit(1)
        if connection.scalar(tagged) is not None:
            raise SealgateError(Reason.INDEX_KEY_MISMATCH, "the index key was removed")
        secret = secrets.token_bytes(SECRET_BYTES)
        connection.execute(insert(INDEX_KEY), {"secret": secret})
    return IndexKeys(bytes(secret))


def _add_tags(connection: Connection, keys: IndexKeys) -> None:
    """Add the tags of subjects whose key is from release 0.1."""
    names = connection.scalars(
        select(SUBJECT_KEYS.c.subject).where(SUBJECT_KEYS.c.tag.is_(None))
    ).all()
    if names:
        named = SUBJECT_KEYS.c.subject == bindparam("name")
        rows = [{"name": name, "of": keys.tag(str(name))} for name in names]
        connection.execute(update(SUBJECT_KEYS).where(named).values(tag=bindparam("of")), rows)
