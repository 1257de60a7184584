"""COSE (RFC 9052, RFC 9053): public keys as authenticators give them, and signed messages.

Of keys, only what WebAuthn's three usual algorithms need is read: a CBOR map of integers and byte
strings, in the canonical form of CTAP2, and nothing else. A COSE_Sign1 message (RFC 9052, 4.2) is a
payload and a protected header under one signature. Only tagged messages (18) are read. Its
algorithms (RFC 9053, RFC 9864): EdDSA or Ed25519 for Ed25519 keys, ES256 for P-256.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cbor2 import CBORTag
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import cbor
from sealgate.trust.keys.signing import ECDSA_P256, ED25519, PublicKey, Signer

# Algorithms.
ES256, EDDSA, RS256, _ED25519 = -7, -8, -257, -19
# Members of a key, its types and curves.
_KTY, _KEY_ALG, _CURVE, _X, _Y = 1, 3, -1, -2, -3
_N, _E = -1, -2
_OKP, _EC2, _RSA = 1, 2, 3
_ON_P256, _ON_ED25519 = 1, 6
_COORDINATE = 32
_RSA_BITS = (2048, 4096)
_EXPONENT = 65537
_LARGEST_KEY = 1024
# Members of a message's header, and CWT claims.
ALG, CRIT, CONTENT_TYPE, KID, CWT_CLAIMS = 1, 2, 3, 4, 15
ISSUER, SUBJECT = 1, 2
_SCHEMES = {ES256: ECDSA_P256, EDDSA: ED25519, _ED25519: ED25519}
_TAG = 18
HEAD = b"\xd2"

_Key = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
Header = Mapping[int | str, Any]


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
        algorithm = members.get(_KEY_ALG)
        try:
            key = _public_key(algorithm, members)
        except (KeyError, TypeError, ValueError) as error:
            raise _key_malformed("not a key of a known algorithm") from error
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
        _check_members(members, {_KTY: _EC2, _CURVE: _ON_P256}, (_X, _Y))
        x, y = (int.from_bytes(_exactly(members[name], _COORDINATE)) for name in (_X, _Y))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    if algorithm == EDDSA:
        _check_members(members, {_KTY: _OKP, _CURVE: _ON_ED25519}, (_X,))
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
    if members.keys() != {_KEY_ALG, *fixed, *rest}:
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
    members = cbor.decode(data, _LARGEST_KEY)
    if not isinstance(members, dict) or cbor.encode(members) != data:
        raise _key_malformed("no map, or in another spelling")
    if any(
        type(name) is not int or type(each) not in (int, bytes) for name, each in members.items()
    ):
        raise _key_malformed("neither a number nor bytes")
    return members


def _key_malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.DOCUMENT_MALFORMED, f"COSE key: {detail}")


@dataclass(frozen=True, slots=True)
class Sign1:
    """A message: `protected` as it was signed, `payload` None where it is detached."""

    protected: bytes
    unprotected: Header
    payload: bytes | None
    signature: bytes
    header: Header = field(init=False, repr=False, compare=False)
    """The content of `protected`."""

    def __post_init__(self) -> None:
        header = cbor.decode(self.protected) if self.protected else {}
        if not all(map(_is_header, (header, self.unprotected))):
            raise malformed("a header of another form")
        # Of integers alone: 1.0 and true are equal to 1, but not the same.
        if type(header.get(ALG)) is not int or header[ALG] not in _SCHEMES:
            raise malformed("no protected header that names a known algorithm")
        if CRIT in header:
            raise malformed("the header has members that must be understood")
        object.__setattr__(self, "header", header)

    @classmethod
    def sign(
        cls, header: Header, payload: bytes, signer: Signer, *, detached: bool = False
    ) -> Self:
        """Sign with an Ed25519 key, whose id and algorithm are added to the header.

        Raises SealgateError(DOCUMENT_MALFORMED) for another kind of key.
        """
        public = signer.public
        if public.scheme != ED25519:
            raise malformed("logs sign with Ed25519 keys")
        named = {**header, ALG: EDDSA, KID: bytes.fromhex(public.keyid)}
        protected = cbor.encode(named)
        signature = signer.sign(_to_be_signed(protected, payload))
        return cls(protected, {}, None if detached else payload, signature)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        if not data.startswith(HEAD):
            raise malformed("no COSE_Sign1 tag")
        parts = cbor.decode(data[1:])
        if not isinstance(parts, list) or len(parts) != 4:
            raise malformed("not four parts")
        protected, unprotected, payload, signature = parts
        if (
            not isinstance(protected, bytes)
            or not isinstance(payload, bytes | None)
            or not isinstance(signature, bytes)
        ):
            raise malformed("parts of other types")
        return cls(protected, unprotected, payload, signature)

    def encode(self) -> bytes:
        """Return the tagged CBOR."""
        parts = [self.protected, self.unprotected, self.payload, self.signature]
        return cbor.encode(CBORTag(_TAG, parts))

    @property
    def kid(self) -> str:
        """The id of the key that has signed, in hexadecimal; empty where the header has none."""
        kid = self.header.get(KID, b"")
        return kid.hex() if isinstance(kid, bytes) else ""

    def claim(self, name: int) -> str:
        """Return a CWT claim of the header (RFC 9597) that is text; empty where it has none."""
        claims = self.header.get(CWT_CLAIMS)
        value = claims.get(name) if isinstance(claims, Mapping) else None
        return value if isinstance(value, str) else ""

    def verify(self, key: PublicKey, detached: bytes | None = None) -> None:
        """Check the signature over the payload, or over `detached` where it has none.

        Raises SealgateError: SIGNATURE_INVALID; PROOF_INVALID where it has another payload than
        the one that is expected.
        """
        if self.payload is not None and detached not in (None, self.payload):
            raise SealgateError(Reason.PROOF_INVALID, "COSE: the payload is another")
        payload = self.payload if detached is None else detached
        if payload is None or _SCHEMES[self.header[ALG]] != key.scheme:
            raise SealgateError(Reason.SIGNATURE_INVALID, "COSE: no payload, or another algorithm")
        key.verify(_signature(self.signature, key), _to_be_signed(self.protected, payload))


def malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.DOCUMENT_MALFORMED, f"COSE: {detail}")


def _is_header(value: object) -> bool:
    return isinstance(value, Mapping) and all(type(name) in (int, str) for name in value)


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure (RFC 9052, 4.4). No note, cosignature or envelope begins with its bytes."""
    return cbor.encode(["Signature1", protected, b"", payload])


def _signature(signature: bytes, key: PublicKey) -> bytes:
    """A signature as the key takes it: DER instead of two numbers for P-256."""
    if key.scheme == ED25519:
        return signature
    if len(signature) != 2 * _COORDINATE:
        raise SealgateError(Reason.SIGNATURE_INVALID, "COSE: a signature of another length")
    r, s = (int.from_bytes(signature[i : i + _COORDINATE]) for i in (0, _COORDINATE))
    return encode_dss_signature(r, s)
