"""The keys of an answer log's index: keyed tags in the place of what they stand for.

All derive from one secret, which the subjects database keeps, apart from the answer log. So the
log's database alone tells nobody whom its entries are about, not even by guessing.

    subject tag    HMAC-SHA256(key 1, subject), 16 bytes; also how the subjects database finds a key
    owner          AES-256-SIV(key 2, subject tag, associated data: day), 32 bytes
    posting tag    HMAC-SHA256(key 3, field | 0 | day | 0 | value), 8 bytes, a signed number

Owner and posting tags hold for one day: within it equal values can be linked, across days only by
who has the secret.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES = 32
_TAG_BYTES = 16
_POSTING_BYTES = 8
_LABEL = b"sealgate/answer-index/v1 "


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
        """What an entry of a day keeps in the place of its subject."""
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
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=_LABEL + name).derive(secret)
