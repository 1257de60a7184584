"""DSSE envelopes (Dead Simple Signing Envelope 1.0.2): a typed payload with its signatures.

The signature covers the type as well as the payload, so a document signed as one thing cannot
be shown as another. A threshold counts distinct keys, never signatures.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import Signer, VerificationKey

_MOST_SIGNATURES = 32


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its type and signatures, each a pair of key id and signature bytes.

    Raises SealgateError(DOCUMENT_MALFORMED) for no signature, for more than 32, and for a key id
    that occurs twice.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.signatures) <= _MOST_SIGNATURES:
            raise fields.malformed("an envelope has between 1 and 32 signatures")
        fields.unique([keyid for keyid, _ in self.signatures])

    @property
    def payload_digest(self) -> str:
        """The digest of the payload, by which other documents refer to this one."""
        return sha256(self.payload)

    def encode(self) -> bytes:
        """Return DSSE's JSON form, canonical."""
        return canonical.encode(self.to_json())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        return cls.from_json(canonical.decode(data))

    def to_json(self) -> dict[str, object]:
        """Return the JSON value, for a document that embeds an envelope."""
        return {
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")}
                for keyid, signature in self.signatures
            ],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a JSON value of the form that `to_json` returns."""
        outer = fields.record(value, ("payload", "payloadType", "signatures"))
        signatures = []
        for item in fields.items(outer["signatures"]):
            inner = fields.record(item, ("keyid", "sig"))
            signatures.append((fields.text(inner["keyid"]), fields.unbase64(inner["sig"])))
        payload = fields.unbase64(outer["payload"])
        return cls(fields.text(outer["payloadType"]), payload, tuple(signatures))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a signature covers (DSSE's pre-authentication encoding)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *signers: Signer) -> Envelope:
    """Return an envelope with one signature of each signer."""
    message = pae(payload_type, payload)
    signatures = tuple((signer.public.keyid, signer.sign(message)) for signer in signers)
    return Envelope(payload_type, payload, signatures)


def add_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """Return the envelope with one more signature: how several people sign one document."""
    signature = signer.sign(pae(envelope.payload_type, envelope.payload))
    pair = (signer.public.keyid, signature)
    return replace(envelope, signatures=(*envelope.signatures, pair))


def verify(
    envelope: Envelope, payload_type: str, keys: Mapping[str, VerificationKey], threshold: int = 1
) -> frozenset[str]:
    """Return the ids of the distinct keys out of `keys` that signed the envelope.

    1. The envelope is of `payload_type` (SIGNATURE_INVALID: what was signed is something else).
    2. Each signature that claims a key of `keys` verifies (SIGNATURE_INVALID). Signatures of
       other keys count for nothing.
    3. At least `threshold` distinct keys have signed (THRESHOLD_NOT_MET).
    """
    if threshold < 1:
        raise ValueError("a threshold is at least 1")
    # 1.
    if envelope.payload_type != payload_type:
        raise SealgateError(Reason.SIGNATURE_INVALID, f"signed as {envelope.payload_type}")
    # 2.
    message = pae(payload_type, envelope.payload)
    signed = set()
    for keyid, signature in envelope.signatures:
        key = keys.get(keyid)
        if key is not None:
            key.verify(signature, message)
            signed.add(key.keyid)
    # 3.
    if len(signed) < threshold:
        raise SealgateError(
            Reason.THRESHOLD_NOT_MET, f"{len(signed)} of {threshold} keys have signed"
        )
    return frozenset(signed)
