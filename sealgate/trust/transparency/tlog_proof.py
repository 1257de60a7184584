"""Inclusion proofs as text (C2SP tlog-proof).

c2sp.org/tlog-proof@v1
index 17
<base64 of a hash>
…
<empty line>
<signed checkpoint>
"""

import base64
from dataclasses import dataclass
from typing import Self

from sealgate.trust import fields
from sealgate.trust.transparency import merkle

_HEADER = "c2sp.org/tlog-proof@v1"
_MOST_HASHES = 64


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's index, the 32-byte hashes of its inclusion proof, and the signed checkpoint.

    Raises Refusal(DOCUMENT_MALFORMED).
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: str

    def __post_init__(self) -> None:
        fields.integer(self.index)
        if len(self.hashes) > _MOST_HASHES:
            raise fields.malformed("a proof with more hashes than any tree is high")
        if any(len(item) != merkle.HASH_SIZE for item in self.hashes):
            raise fields.malformed("a hash of a proof has not 32 bytes")

    def encode(self) -> str:
        """Return the text."""
        lines = [_HEADER, f"index {self.index}"]
        lines += [base64.b64encode(item).decode("ascii") for item in self.hashes]
        return "\n".join([*lines, "", self.checkpoint_note])

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` writes; `extra` lines are not accepted.

        Raises Refusal(DOCUMENT_MALFORMED).
        """
        head, _, note = text.partition("\n\n")
        header, _, rest = head.partition("\n")
        position, *hashes = rest.split("\n")
        digits = position.removeprefix("index ")
        if header != _HEADER or not (digits.isascii() and digits.isdigit() and len(digits) < 17):
            raise fields.malformed("not a tlog-proof")
        proof = cls(int(digits), tuple(fields.unbase64(item) for item in hashes), note)
        if proof.encode() != text:
            raise fields.malformed("a tlog-proof in another spelling")
        return proof
