"""Signing keys: Ed25519, and ECDSA P-256 where OpenSSF Model Signing needs it.

The only module of this package that touches the disk. A key's id is the SHA-256 of its DER
SubjectPublicKeyInfo, in hexadecimal, so two spellings of one key cannot count as two keys.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sealgate.files import open_regular_file, read_regular_file
from sealgate.reasons import Reason, SealgateError

ED25519 = "ed25519"
ECDSA_P256 = "ecdsa-p256"
_ECDSA = ec.ECDSA(hashes.SHA256())
_LARGEST_FILE = 16384

_Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; equal if the key is the same.

    `pem` is the SubjectPublicKeyInfo text, `der` its bytes, `keyid` the SHA-256 of `der` in hex.
    """

    scheme: str
    pem: str
    keyid: str
    der: bytes = field(repr=False)
    _key: _Public = field(repr=False, compare=False)

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """Read a SubjectPublicKeyInfo PEM, in the one spelling that we write.

        Raises SealgateError(DOCUMENT_MALFORMED) for another spelling or another kind of key.
        """
        try:
            key = cls._of(load_pem_public_key(pem.encode("ascii")))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "not a public key") from error
        if key.pem != pem:
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "a public key in another spelling")
        return key

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Read the 32 bytes of an Ed25519 key. Raises SealgateError(DOCUMENT_MALFORMED)."""
        try:
            return cls._of(ed25519.Ed25519PublicKey.from_public_bytes(raw))
        except ValueError as error:
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "not an Ed25519 key") from error

    @classmethod
    def _of(cls, key: object) -> Self:
        if isinstance(key, ed25519.Ed25519PublicKey):
            scheme = ED25519
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            scheme = ECDSA_P256
        else:
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "neither an Ed25519 nor a P-256 key")
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(scheme, pem, hashlib.sha256(der).hexdigest(), der, key)

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key. Raises ValueError for another scheme."""
        if not isinstance(self._key, ed25519.Ed25519PublicKey):
            raise ValueError("only an Ed25519 key has a raw form")
        return self._key.public_bytes_raw()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature: 64 bytes for Ed25519, DER over SHA-256 for P-256.

        Raises SealgateError(SIGNATURE_INVALID).
        """
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, _ECDSA)
        except InvalidSignature as error:
            raise SealgateError(Reason.SIGNATURE_INVALID, f"by key {self.keyid}") from error


class VerificationKey(Protocol):
    """A key that verifies signatures: a public key, or a passkey."""

    @property
    def keyid(self) -> str:
        """The key's id: no two keys have the same."""
        ...

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises SealgateError unless `signature` stands for `message`."""
        ...


class Signer(Protocol):
    """A key that signs: in memory, or in a token or a service."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what `sign` returns."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return a signature over `message`."""
        ...


class PrivateKey:
    """A private key in memory. It is a `Signer`."""

    __slots__ = ("_key", "_public")

    def __init__(self, key: _Private) -> None:
        self._key = key
        self._public = PublicKey._of(key.public_key())

    @classmethod
    def generate(cls, scheme: str = ED25519) -> Self:
        """Make a new key of `scheme`. Raises ValueError for an unknown scheme."""
        if scheme == ED25519:
            return cls(ed25519.Ed25519PrivateKey.generate())
        if scheme == ECDSA_P256:
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise ValueError(f"unknown scheme {scheme}")

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> Self:
        """Read a PKCS#8 PEM.

        Raises SealgateError(KEY_UNREADABLE) for a wrong or missing passphrase or for anything else
        that is not such a key, and SealgateError(DOCUMENT_MALFORMED) for another kind of key.
        """
        try:
            key = load_pem_private_key(pem, passphrase)
        except TypeError as error:
            detail = "it is encrypted; no passphrase" if passphrase is None else "not encrypted"
            raise SealgateError(Reason.KEY_UNREADABLE, detail) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            detail = "no private key in PEM" if passphrase is None else "a wrong passphrase"
            raise SealgateError(Reason.KEY_UNREADABLE, detail) from error
        if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            return cls(key)
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "neither an Ed25519 nor a P-256 key")

    @property
    def public(self) -> PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """Return the PKCS#8 PEM, encrypted if there is a passphrase."""
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def save_private_key(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a key to a new private file. Raises like `write_private_file`."""
    write_private_file(path, key.to_pem(passphrase))


def load_private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Read a key from a private file. Raises like `read_private_file` and `from_pem`."""
    pem = read_private_file(path)
    try:
        return PrivateKey.from_pem(pem, passphrase)
    except SealgateError as refusal:
        raise SealgateError(refusal.reason, f"{path}: {refusal.detail}") from refusal


def load_public_key(path: Path) -> PublicKey:
    """Read a public key from a file. Raises OSError; SealgateError(DOCUMENT_MALFORMED), with the
    file's name.
    """
    pem = read_regular_file(path, _LARGEST_FILE).decode("ascii", "replace")
    try:
        return PublicKey.from_pem(pem)
    except SealgateError as refusal:
        raise SealgateError(refusal.reason, f"{path}: {refusal.detail}") from refusal


def write_private_file(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; a file is never overwritten.

    Raises SealgateError(KEY_FILE_EXISTS), and OSError where the folder cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SealgateError(Reason.KEY_FILE_EXISTS, str(path)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def read_private_file(path: Path, largest: int = _LARGEST_FILE) -> bytes:
    """Read a file that nobody but its owner can reach, and no more than `largest` bytes of it.

    The open file is asked for its mode, not the path, so that no swap can come between. Raises
    SealgateError: KEY_FILE_EXPOSED, or KEY_UNREADABLE where there is no such plain file.
    """
    try:
        with open_regular_file(path) as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o077:
                mode = stat.filemode(status.st_mode)
                raise SealgateError(Reason.KEY_FILE_EXPOSED, f"{path} has mode {mode}")
            return file.read(largest)
    except OSError as error:
        raise SealgateError(Reason.KEY_UNREADABLE, f"{path}: {error.strerror}") from error
