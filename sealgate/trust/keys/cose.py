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

ES256, EDDSA, RS256 = -7, -8, -257
_KTY, _ALG, _CURVE, _X, _Y = 1, 3, -1, -2, -3
_N, _E = -1, -2
_OKP, _EC2, _RSA = 1, 2, 3
_P256, _ED25519 = 1, 6
_COORDINATE = 32
_RSA_BITS = (2048, 4096)
_EXPONENT = 65537
_LARGEST = 1024
_MOST_MEMBERS = 8

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
    """Read one CBOR map (RFC 8949) in its canonical form. Raises SealgateError."""
    if len(data) > _LARGEST:
        raise _malformed("too long")
    kind, count, place = _head(data, 0)
    if kind != 5 or count > _MOST_MEMBERS:
        raise _malformed("no map")
    members: dict[int, int | bytes] = {}
    order: list[bytes] = []
    for _ in range(count):
        start = place
        name, place = _item(data, place)
        if not isinstance(name, int):
            raise _malformed("a member's name is no number")
        order.append(data[start:place])
        members[name], place = _item(data, place)
    # Canonical: sorted by the encoded name, so none occurs twice.
    if place != len(data) or order != sorted(set(order), key=lambda text: (len(text), text)):
        raise _malformed("another spelling")
    return members


def _item(data: bytes, place: int) -> tuple[int | bytes, int]:
    kind, value, place = _head(data, place)
    if kind == 0:
        return value, place
    if kind == 1:
        return -1 - value, place
    if kind == 2 and len(data) >= place + value:
        return data[place : place + value], place + value
    raise _malformed("neither a number nor bytes")


def _head(data: bytes, place: int) -> tuple[int, int, int]:
    """Return the type of the item at a place, its number, and where the rest begins."""
    if place >= len(data):
        raise _malformed("cut short")
    kind, info = data[place] >> 5, data[place] & 31
    if info < 24:
        return kind, info, place + 1
    size = {24: 1, 25: 2, 26: 4}.get(info)
    number = data[place + 1 : place + 1 + size] if size else b""
    if size is None or len(number) != size:
        raise _malformed("cut short, or a length that no key has")
    value = int.from_bytes(number)
    # The shortest form alone: a value that a shorter head holds is another spelling.
    if value < {1: 24, 2: 1 << 8, 4: 1 << 16}[size]:
        raise _malformed("another spelling")
    return kind, value, place + 1 + size


def _malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.DOCUMENT_MALFORMED, f"COSE key: {detail}")
