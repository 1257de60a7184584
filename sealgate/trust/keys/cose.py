"""Public keys in COSE form (RFC 9052, RFC 9053), as authenticators give them.

Only what WebAuthn's three usual algorithms need is read: a CBOR map of integers and byte strings,
in the canonical form of CTAP2, and nothing else.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import cbor

ES256, EDDSA, RS256 = -7, -8, -257
_KTY, _ALG, _CURVE, _X, _Y = 1, 3, -1, -2, -3
_N, _E = -1, -2
_OKP, _EC2, _RSA = 1, 2, 3
_P256, _ED25519 = 1, 6
_COORDINATE = 32
_RSA_BITS = (2048, 4096)
_EXPONENT = 65537
_LARGEST = 1024

_Key = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class CoseKey:
    """A public key for ES256 (P-256), EdDSA (Ed25519) or RS256 (RSA, 2048 to 4096 bits).

    `keyid` is the SHA-256 of the DER SubjectPublicKeyInfo in hexadecimal, as for every other key.
    """

    algorithm: int
    data: bytes
    keyid: str
    _key: _Key = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a COSE_Key. Raises SealgateError(DOCUMENT_MALFORMED)."""
        members = _read_map(data)
        algorithm = members.get(_ALG)
        try:
            key = _public_key(algorithm, members)
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed("not a key of a known algorithm") from error
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(int(str(algorithm)), data, hashlib.sha256(der).hexdigest(), key)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises SealgateError(SIGNATURE_INVALID)."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            elif isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            else:
                self._key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise SealgateError(Reason.SIGNATURE_INVALID, f"by key {self.keyid}") from error


def _public_key(algorithm: int | bytes | None, members: Mapping[int, int | bytes]) -> _Key:
    """Raises KeyError, TypeError or ValueError for a key that is not whole, or has more to it."""
    if algorithm == ES256:
        _check_members(members, {_KTY: _EC2, _CURVE: _P256}, (_X, _Y))
        x, y = (int.from_bytes(_exactly(members[name], _COORDINATE)) for name in (_X, _Y))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    if algorithm == EDDSA:
        _check_members(members, {_KTY: _OKP, _CURVE: _ED25519}, (_X,))
        raw = _exactly(members[_X], _COORDINATE)
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    if algorithm == RS256:
        _check_members(members, {_KTY: _RSA}, (_N, _E))
        modulus, exponent = (int.from_bytes(_text(members[name])) for name in (_N, _E))
        if not _RSA_BITS[0] <= modulus.bit_length() <= _RSA_BITS[1] or exponent != _EXPONENT:
            raise ValueError("an RSA key of another size or exponent")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    raise ValueError("another algorithm")


def _check_members(
    members: Mapping[int, int | bytes], fixed: Mapping[int, int], rest: tuple[int, ...]
) -> None:
    if members.keys() != {_ALG, *fixed, *rest}:
        raise ValueError("other members")
    if any(members[name] != value for name, value in fixed.items()):
        raise ValueError("another type or curve")


def _text(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("bytes are expected")
    return value


def _exactly(value: int | bytes, size: int) -> bytes:
    if len(_text(value)) != size:
        raise ValueError("of another length")
    return _text(value)


def _read_map(data: bytes) -> dict[int, int | bytes]:
    """Read one CBOR map in its canonical form. Raises SealgateError."""
    members = cbor.decode(data, _LARGEST)
    if not isinstance(members, dict) or cbor.encode(members) != data:
        raise _malformed("no map, or in another spelling")
    if any(
        type(name) is not int or type(each) not in (int, bytes) for name, each in members.items()
    ):
        raise _malformed("neither a number nor bytes")
    return members


def _malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.DOCUMENT_MALFORMED, f"COSE key: {detail}")
