"""The keys of those whom records are about, apart from the log.

An entry's salts derive from its subject's key. Destroying the key erases the link between the
person and the entry, while the log still verifies.
"""

import functools
import secrets
from pathlib import Path

from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, delete, insert, select

from registry.database import Database
from registry.log.tables import CONSTRAINT_NAMES
from sealgate.reasons import Reason, Refusal

_KEY_BYTES = 32
_CACHED = 4096

METADATA = MetaData(naming_convention=CONSTRAINT_NAMES)
SUBJECT_KEYS = Table(
    "subject_keys",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)


class SubjectKeys:
    """A 32-byte key for each subject, made when the subject is first met."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # On the request path, so the keys of those met lately stay in memory. What was on its way
        # there when a key was destroyed belongs to an epoch that nobody asks for any more.
        self._cached = functools.lru_cache(_CACHED)(self._load_or_make)
        self._epoch = 0

    @classmethod
    def open(cls, place: Path | str) -> "SubjectKeys":
        """Open the SQLite file or the URL, or begin it. Raises: REGISTRY_UNAVAILABLE."""
        return cls(Database.open(place, "subjects"))

    def key(self, subject: str) -> bytes:
        """The subject's key, made where there is none. Raises: RECORD_FAILED."""
        return self._cached(self._epoch, subject)

    def known_key(self, subject: str) -> bytes:
        """The subject's key. Raises: ENTRY_UNKNOWN where it was never made, or is destroyed."""
        query = select(SUBJECT_KEYS.c.key).where(SUBJECT_KEYS.c.subject == subject)
        with self._database.reading() as connection:
            key = connection.scalar(query)
        if key is None:
            raise Refusal(Reason.ENTRY_UNKNOWN, "the subject has no key")
        return bytes(key)

    def destroy(self, subject: str) -> None:
        """Destroy the subject's key for good. Raises: RECORD_FAILED."""
        with self._database.writing() as connection:
            connection.execute(delete(SUBJECT_KEYS).where(SUBJECT_KEYS.c.subject == subject))
            connection.commit()
        self._epoch += 1
        self._cached.cache_clear()

    def close(self) -> None:
        self._database.close()

    def _load_or_make(self, _epoch: int, subject: str) -> bytes:
        query = select(SUBJECT_KEYS.c.key).where(SUBJECT_KEYS.c.subject == subject)
        with self._database.writing() as connection:
            key = connection.scalar(query)
            if key is None:
                key = secrets.token_bytes(_KEY_BYTES)
                connection.execute(insert(SUBJECT_KEYS), {"subject": subject, "key": key})
                connection.commit()
        return bytes(key)
