"""Answers to record, where what they say does not matter, and subjects kept in memory."""

import hashlib
from collections.abc import Iterable

from registry.answers.answer_log import LoggedAnswer, Opening
from registry.answers.encryption import IndexKeys, KnownSubject
from sealgate.trust.receipts import answer_entry


class MemorySubjects:
    """Subjects' keys without a database: the same ones in every process."""

    def __init__(self) -> None:
        self.index_keys = IndexKeys(bytes(range(32)))
        self._known: dict[bytes, KnownSubject] = {}

    def key(self, subject: str) -> bytes:
        key = hashlib.sha256(subject.encode()).digest()
        self._known[self.index_keys.tag(subject)] = KnownSubject(subject, key)
        return key

    def find(self, tags: Iterable[bytes]) -> dict[bytes, KnownSubject]:
        return {tag: self._known[tag] for tag in tags if tag in self._known}

    def destroy(self, subject: str) -> None:
        self._known.pop(self.index_keys.tag(subject), None)

    def purge(self) -> None:
        """Nothing of it is in a file."""


SUBJECTS = MemorySubjects()


def opening(
    values: tuple[str, ...] = answer_entry.FIELDS,
    nonce: bytes = bytes(16),
    subject: str = "subject",
) -> Opening:
    """An opening under the key that SUBJECTS has."""
    return Opening(values, nonce, subject, SUBJECTS.key(subject))


def an_answer(
    subject: str = "subject", values: tuple[str, ...] = answer_entry.FIELDS
) -> LoggedAnswer:
    """An answer whose leaf commits to its opening."""
    nonce = subject.encode().ljust(16)[:16]
    opened = opening(values, nonce, subject)
    return LoggedAnswer(answer_entry.leaf(values, answer_entry.salts(opened.key, nonce)), opened)
