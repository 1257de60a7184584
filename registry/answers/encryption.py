"""Encrypts openings of entries, each under a key derived from its subject's key.

Destroying a subject's key closes its entries permanently, in every backup of the answer log too.

    key      HKDF-SHA256(subject's key, info: "sealgate/opening/v1 " | day), 32 bytes, and behind
             them the key's id, 8 bytes; a key for each day, so that random nonces do not repeat
    plain    length of the entry's nonce, 1 byte | nonce | fields as a JSON list | spaces
    sealed   key's id | nonce of 12 random bytes | AES-256-GCM(key, plain, associated data: leaf)

The leaf as associated data ties an opening to its entry. Spaces fill the plain text up to a
multiple of 1024 bytes, so that its size does not tell a verdict or an outcome. The day is the date
of the entry's time.
"""

import hmac
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealgate.reasons import SealgateError
from sealgate.trust.receipts.answer_entry import fields_of

SECRET_BYTES = 32
_TAG_BYTES = 16
_POSTING_BYTES = 8
_INDEX_KEY_LABEL = b"sealgate/answer-index/v1 "


class IndexKeys:
    """The keys that derive from a secret of 32 bytes.

    `identity` names the secret without giving it away: a log remembers which one it was made with.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError("an index key has 32 bytes")
        self.identity = _derive(secret, b"identity", 16)
        self._tags = _derive(secret, b"subject tag", 32)
        self._owners = AESSIV(_derive(secret, b"owner", 64))
        self._postings = _derive(secret, b"posting", 32)

    def tag(self, subject: str) -> bytes:
        """The subject's tag."""
        return hmac.digest(self._tags, subject.encode("utf-8"), "sha256")[:_TAG_BYTES]

    def owner(self, tag: bytes, day: str) -> bytes:
        """Return the tag that an entry of a day stores instead of its subject's name."""
        return self._owners.encrypt(tag, [day.encode("utf-8")])

    def owner_tag(self, owner: bytes, day: str) -> bytes | None:
        """The subject's tag of an owner; nothing where it is not one of that day."""
        try:
            return self._owners.decrypt(owner, [day.encode("utf-8")])
        except (InvalidTag, ValueError):
            return None

    def posting(self, field: str, day: str, value: str) -> int:
        """The tag of a value that entries of a day have in a field."""
        told = f"{field}\0{day}\0{value}".encode()
        digest = hmac.digest(self._postings, told, "sha256")
        return int.from_bytes(digest[:_POSTING_BYTES], "big", signed=True)


def _derive(secret: bytes, name: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=_INDEX_KEY_LABEL + name).derive(
        secret
    )


_LABEL = b"sealgate/opening/v1 "
KEY_BYTES = 32
_ID_BYTES = 8
IV_BYTES = 12
_PADDED = 1024
DATE_LENGTH = 10
_CACHED = 8192


class Opening(NamedTuple):
    """The data that opens a leaf: a value for each of its fields, a nonce, and its subject's key,
    from which the salts derive.
    """

    fields: tuple[str, ...]
    nonce: bytes
    subject: str
    key: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return f"Opening({self.fields!r}, {self.nonce!r}, {self.subject!r})"

    @property
    def day(self) -> str:
        """The date of the entry's time."""
        return self.fields[0][:DATE_LENGTH]


class KnownSubject(NamedTuple):
    """A subject that has a key."""

    name: str
    key: bytes


class Subjects(Protocol):
    """A store of subjects' keys; see `registry.answers.subject_keys.SubjectKeys`."""

    @property
    def index_keys(self) -> IndexKeys: ...

    def find(self, tags: Iterable[bytes]) -> Mapping[bytes, KnownSubject]:
        """The subjects with these tags that have a key."""
        ...


class EncryptedOpening(NamedTuple):
    """An opening as the log's database keeps it."""

    day: str
    owner: bytes
    sealed: bytes


class PlannedEncryption(NamedTuple):
    """How an opening is to be encrypted: with a key of 32 bytes, and behind it the key's id."""

    day: str
    owner: bytes
    key: bytes


class StoredOpening(NamedTuple):
    """An opening as it was read, with the leaf of its entry."""

    entry: int
    day: str
    owner: bytes
    sealed: bytes
    leaf: bytes


class DecryptedOpening(NamedTuple):
    """Openings by index. `altered` were edited; the others that were asked for have no key."""

    openings: Mapping[int, Opening]
    altered: frozenset[int]


class _Cipher(NamedTuple):
    """The cipher for the openings of one subject on one day. `key` is its key, the id behind it."""

    key: bytes
    cipher: AESGCM

    @property
    def key_id(self) -> bytes:
        return self.key[KEY_BYTES:]


class OpeningCipher:
    """Encrypts and decrypts the openings of one log."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._keys = subjects.index_keys
        # On the request path: deriving a key costs as much as ten encryptions.
        self._cipher = lru_cache(_CACHED)(_cipher)
        self._owner = lru_cache(_CACHED)(lambda name, day: self.owner(name, day))

    def owner(self, subject: str, day: str) -> bytes:
        """Return the tag that an entry of a day stores instead of its subject's name."""
        return self._keys.owner(self._keys.tag(subject), day)

    def plan(self, openings: Iterable[Opening]) -> list[PlannedEncryption]:
        """How each opening is to be encrypted. Those of one subject and day share a plan."""
        known: dict[tuple[bytes, str, str], PlannedEncryption] = {}
        plans = []
        for opening in openings:
            fields, _, subject, key = opening
            day = fields[0][:DATE_LENGTH]
            plan = known.get((key, subject, day))
            if plan is None:
                sealing = self._cipher(key, day).key
                plan = PlannedEncryption(day, self._owner(subject, day), sealing)
                known[key, subject, day] = plan
            plans.append(plan)
        return plans

    def encrypt(self, leaf: bytes, opening: Opening) -> EncryptedOpening:
        """Encrypt what a leaf commits to."""
        key, cipher = self._cipher(opening.key, opening.day)
        iv = os.urandom(IV_BYTES)
        sealed = key[KEY_BYTES:] + iv + cipher.encrypt(iv, padded(opening), leaf)
        return EncryptedOpening(opening.day, self._owner(opening.subject, opening.day), sealed)

    def decrypt(self, rows: Sequence[StoredOpening]) -> DecryptedOpening:
        """Decrypt openings whose subjects have a key. Raises SealgateError as `Subjects.find`."""
        tags = {row.entry: self._keys.owner_tag(row.owner, row.day) for row in rows}
        known = self._subjects.find({tag for tag in tags.values() if tag is not None})
        openings: dict[int, Opening] = {}
        altered: set[int] = set()
        for row in rows:
            tag = tags[row.entry]
            subject = known.get(tag) if tag is not None else None
            if subject is not None:
                cipher = self._cipher(subject.key, row.day)
                if row.sealed[:_ID_BYTES] != cipher.key_id and len(row.sealed) > _ID_BYTES:
                    # The subject was erased, and has had another key since.
                    continue
                opening = _open(cipher.cipher, row, subject)
                if opening is not None:
                    openings[row.entry] = opening
                    continue
            if tag is None or subject is not None:
                altered.add(row.entry)
        return DecryptedOpening(openings, frozenset(altered))

    def forget(self) -> None:
        """Drop the keys that are kept in memory."""
        self._cipher.cache_clear()
        self._owner.cache_clear()


def padded(opening: Opening) -> bytes:
    """The plain text of an opening."""
    text = json.dumps(opening.fields, separators=(",", ":")).encode("ascii")
    plain = bytes([len(opening.nonce)]) + opening.nonce + text
    return plain.ljust(-(-len(plain) // _PADDED) * _PADDED)


def read_fields(text: str | bytes) -> tuple[str, ...] | None:
    """The fields from a JSON list; nothing where somebody edited it into another."""
    try:
        fields = json.loads(text)
        if not isinstance(fields, list):
            return None
        fields_of(len(fields))
    except (ValueError, SealgateError):
        return None
    return tuple(map(str, fields))


def _cipher(subject_key: bytes, day: str) -> _Cipher:
    info = _LABEL + day.encode("utf-8")
    hkdf = HKDF(algorithm=SHA256(), length=KEY_BYTES + _ID_BYTES, salt=None, info=info)
    derived = hkdf.derive(subject_key)
    return _Cipher(derived, AESGCM(derived[:KEY_BYTES]))


def _open(cipher: AESGCM, row: StoredOpening, subject: KnownSubject) -> Opening | None:
    start = _ID_BYTES + IV_BYTES
    try:
        plain = cipher.decrypt(row.sealed[_ID_BYTES:start], row.sealed[start:], row.leaf)
    except (InvalidTag, ValueError):
        return None
    end = 1 + plain[0]
    fields = read_fields(plain[end:])
    if fields is None:
        return None
    return Opening(fields, plain[1:end], subject.name, subject.key)
