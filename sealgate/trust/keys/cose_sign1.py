"""COSE_Sign1 messages (RFC 9052, 4.2): a payload and a protected header under one signature.

What is read is tagged (18). Algorithms (RFC 9053, RFC 9864): EdDSA or Ed25519 for Ed25519 keys,
ES256 for P-256.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cbor2 import CBORTag
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import cbor
from sealgate.trust.keys.signing import ECDSA_P256, ED25519, PublicKey, Signer

ALG, CRIT, CONTENT_TYPE, KID, CWT_CLAIMS = 1, 2, 3, 4, 15
ISSUER, SUBJECT = 1, 2
_ES256, _EDDSA, _ED25519 = -7, -8, -19
_SCHEMES = {_ES256: ECDSA_P256, _EDDSA: ED25519, _ED25519: ED25519}
_TAG = 18
HEAD = b"\xd2"
_COORDINATE = 32

Header = Mapping[int | str, Any]


@dataclass(frozen=True, slots=True)
class Sign1:
    """A message: `protected` as it was signed, `payload` None where it is detached."""

    protected: bytes
    unprotected: Header
    payload: bytes | None
    signature: bytes
    header: Header = field(init=False, repr=False, compare=False)
    """What `protected` says."""

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
        named = {**header, ALG: _EDDSA, KID: bytes.fromhex(public.keyid)}
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
