"""ML-DSA-44 signatures of a log beside Ed25519 (C2SP tlog-cosignature, type 0x06).

The log cosigns its own checkpoints under its own name, with time 0: it says that the tree is
consistent with all that it signed, and nothing of when. A verifier that knows Ed25519 alone reads
the same note as before. The signed message is a `cosigned_message`, not the note's text: the label
`subtree/v1\\n\\0`, then cosigner and origin with their lengths in a byte, 8-byte numbers, the root.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.keys import PublicKey, Signer
from sealgate.trust.transparency import note

_TYPE = b"\x06"
_LABEL = b"subtree/v1\n\x00"
_NO_TIME = bytes(8)
_KEY_BYTES = 1312
_LONGEST_NAME = 255


def cosigned_message(origin: str, size: int, root: bytes) -> bytes:
    """Return the message that a log signs for its own checkpoint, with time 0.

    Raises SealgateError(DOCUMENT_MALFORMED) for an origin of more than 255 bytes.
    """
    name = origin.encode("utf-8")
    if len(name) > _LONGEST_NAME:
        raise fields.malformed("an origin of more than 255 bytes")
    sized = bytes([len(name)]) + name
    return _LABEL + sized + _NO_TIME + sized + bytes(8) + size.to_bytes(8, "big") + root


class MlDsaKey:
    """A log's private ML-DSA-44 key, in memory."""

    __slots__ = ("_key",)

    def __init__(self, key: MLDSA44PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        return cls(MLDSA44PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read an unencrypted PKCS#8 PEM. Raises SealgateError(KEY_UNREADABLE)."""
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise SealgateError(Reason.KEY_UNREADABLE, type(error).__name__) from error
        if not isinstance(key, MLDSA44PrivateKey):
            raise SealgateError(Reason.KEY_UNREADABLE, "not an ML-DSA-44 key")
        return cls(key)

    def to_pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def raw(self) -> bytes:
        """The 1312 bytes of the public key."""
        return self._key.public_key().public_bytes_raw()

    def line(self, origin: str, message: bytes) -> str:
        """The note's line that signs a `cosigned_message` under the log's name."""
        data = note.key_hint(origin, _TYPE, self.raw) + _NO_TIME + self._key.sign(message)
        return f"\u2014 {origin} {base64.b64encode(data).decode('ascii')}\n"


class PairedSigner:
    """A log's Ed25519 key with an ML-DSA-44 key beside it. It is a `Signer`, by the first."""

    def __init__(self, signer: Signer, beside: MlDsaKey) -> None:
        self._signer = signer
        self.beside = beside

    @property
    def public(self) -> PublicKey:
        return self._signer.public

    def sign(self, message: bytes) -> bytes:
        return self._signer.sign(message)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A log's public ML-DSA-44 key under its origin."""

    name: str
    raw: bytes

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read `name+hint+key`. Raises SealgateError(DOCUMENT_MALFORMED)."""
        name, raw = note.read_vkey(text, _TYPE)
        if len(raw) != _KEY_BYTES:
            raise fields.malformed("not a verifier key of ML-DSA-44")
        return cls(name, raw)

    def check(self, signed: str, message: bytes) -> None:
        """Check that a note has this key's line over a `cosigned_message`.

        Raises SealgateError(SIGNATURE_INVALID).
        """
        hint = note.key_hint(self.name, _TYPE, self.raw)
        for name, found, data in map(note.read_line, note.split(signed)[1]):
            if (name, found) == (self.name, hint) and data.startswith(_NO_TIME):
                try:
                    key = MLDSA44PublicKey.from_public_bytes(self.raw)
                    key.verify(data[len(_NO_TIME) :], message)
                except (InvalidSignature, ValueError) as error:
                    raise SealgateError(Reason.SIGNATURE_INVALID, f"ML-DSA of {name}") from error
                return
        raise SealgateError(Reason.SIGNATURE_INVALID, f"no ML-DSA line of {self.name}")


@dataclass(frozen=True, slots=True)
class LogCosigners:
    """The section `ml_dsa` of a policy: verifier keys by origin. Raises SealgateError like
    `Policy`.
    """

    keys: Mapping[str, str]

    def __post_init__(self) -> None:
        if any(Cosigner.from_vkey(text).name != origin for origin, text in self.keys.items()):
            raise fields.malformed("an ML-DSA key under another log's name")

    def to_json(self) -> dict[str, Any]:
        return dict(self.keys)

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(fields.mapping(value))


def vkey(name: str, raw: bytes) -> str:
    """Return the verifier key text of a public key under a name."""
    return note.write_vkey(name, _TYPE, raw)
