"""Cosignatures of witnesses (C2SP tlog-cosignature): "I saw this checkpoint, and none that
contradicts it, at this time".

A cosignature is one more line below a checkpoint, of type 0x04: eight bytes of the time in seconds,
then an Ed25519 signature over `cosignature/v1`, the time, and the checkpoint's text.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.keys import ED25519, PublicKey, Signer
from sealgate.trust.transparency import note

_TYPE = b"\x04"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's name with its Ed25519 key; `hint` is the four bytes that stand for both."""

    name: str
    key: PublicKey
    hint: bytes

    @classmethod
    def of(cls, name: str, key: PublicKey) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED) for a name or key that a note cannot have."""
        if key.scheme != ED25519:
            raise fields.malformed("witnesses sign with Ed25519 keys")
        return cls(name, key, note.key_hint(name, _TYPE, key.raw))

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read `name+hint+key`, of type 0x04. Raises SealgateError(DOCUMENT_MALFORMED)."""
        name, raw = note.read_vkey(text, _TYPE)
        return cls.of(name, PublicKey.from_raw(raw))

    @property
    def vkey(self) -> str:
        """The verifier key text (C2SP)."""
        return note.write_vkey(self.name, _TYPE, self.key.raw)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: whose, when (seconds since 1970), its line without the newline."""

    witness: str
    time: int
    line: str


def cosign(text: str, name: str, signer: Signer, time: int) -> str:
    """Return the line, with its newline, by which a witness says that it saw a checkpoint's text.

    Raises SealgateError(DOCUMENT_MALFORMED) for a name or key that a note cannot have.
    """
    witness = WitnessKey.of(name, signer.public)
    signature = time.to_bytes(_TIME_BYTES, "big") + signer.sign(_message(text, time))
    encoded = base64.b64encode(witness.hint + signature).decode("ascii")
    return f"\u2014 {name} {encoded}\n"


def verified(text: str, lines: Iterable[str], witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """Return the cosignatures of these witnesses among a note's signature lines, one for each key.

    Lines of others count for nothing. Raises SealgateError: SIGNATURE_INVALID for a witness's line
    that does not verify; DOCUMENT_MALFORMED for what is no line, or for two lines of one key.
    """
    known = {(witness.name, witness.hint): witness for witness in witnesses}
    found: dict[bytes, Cosignature] = {}
    for line in lines:
        name, hint, signature = note.read_line(line)
        witness = known.get((name, hint))
        if witness is None:
            continue
        if witness.key.raw in found:
            raise fields.malformed("a witness has signed twice")
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise SealgateError(Reason.SIGNATURE_INVALID, "a cosignature of another length")
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        witness.key.verify(signature[_TIME_BYTES:], _message(text, time))
        found[witness.key.raw] = Cosignature(name, time, line)
    return list(found.values())


def cosignatures(signed: str, witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """Return the verified cosignatures that a note carries. Raises like `verified`."""
    text, lines = note.split(signed)
    return verified(text, lines, witnesses)


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
