"""The body of an `add-checkpoint` request (C2SP tlog-witness).

old <size>
<base64 hash>        the consistency proof, at most 63 lines
<an empty line>
<the checkpoint, a signed note>
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sealgate.trust import fields
from sealgate.trust.transparency.merkle import HASH_SIZE

MOST_HASHES = 63
LARGEST_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
PATH = "add-checkpoint"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint for a witness, with the proof that its tree extends the one of `old` leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        lines = [
            f"old {self.old}",
            *(base64.b64encode(item).decode("ascii") for item in self.proof),
        ]
        return ("\n".join(lines) + "\n\n" + self.note).encode("utf-8")

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read what `encode` writes. Raises Refusal(DOCUMENT_MALFORMED)."""
        if len(body) > LARGEST_BYTES:
            raise fields.malformed("a request that is too large")
        try:
            head, separator, note = body.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError as error:
            raise fields.malformed("a request that is not UTF-8") from error
        first, *lines = head.split("\n")
        if not separator or not first.startswith("old ") or len(lines) > MOST_HASHES:
            raise fields.malformed("not a request to add a checkpoint")
        return cls(size(first.removeprefix("old ")), _hashes(lines), note)


def size(text: str) -> int:
    """Read a tree's size in its one spelling. Raises Refusal(DOCUMENT_MALFORMED)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 16) or str(int(text)) != text:
        raise fields.malformed("not the size of a tree")
    return int(text)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    hashes = tuple(map(fields.unbase64, lines))
    if any(len(item) != HASH_SIZE for item in hashes):
        raise fields.malformed("a hash has 32 bytes")
    return hashes
