"""COSE messages and receipts that others made, and what has to become of each: `vectors/cose.json`.

A receipt is mutated in every bit, a statement in every bit that is signed: COSE leaves a
statement's unprotected header open to anybody. Vectors without a key show their form alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealgate.reasons import SealgateError
from sealgate.trust import cbor
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.cose import Sign1
from sealgate.trust.receipts.cose_receipt import CoseReceipt

_FILE = Path(__file__).parents[2] / "vectors" / "cose.json"


@dataclass(frozen=True, slots=True)
class CoseVector:
    """A message, the key and the entry that it is checked with, and the reason if it is refused."""

    source: str
    name: str
    kind: str
    key: str
    data: str
    entry: str
    reason: str

    def verdict(self, data: bytes | None = None) -> str:
        """Return why the message, or `data` in its place, is refused; empty where it is not."""
        data = bytes.fromhex(self.data) if data is None else data
        try:
            if self.kind == "statement":
                Sign1.decode(data).verify(PublicKey.from_pem(self.key))
                return ""
            receipt = CoseReceipt.decode(data)
            if self.key:
                root = receipt.root(bytes.fromhex(self.entry))
                receipt.signed.verify(PublicKey.from_pem(self.key), root)
        except SealgateError as refusal:
            return refusal.reason.name
        return ""

    def mutations(self, step: int = 1) -> Iterator[bytes]:
        """Yield the message with one bit of what is checked flipped, for each `step`th of them."""
        data = bytes.fromhex(self.data)
        open_header = b""
        if self.kind == "statement":
            open_header = cbor.encode(Sign1.decode(data).unprotected)
        start = data.index(open_header) if open_header else len(data)
        for bit in range(0, 8 * len(data), step):
            if not start <= bit // 8 < start + len(open_header):
                flipped = bytearray(data)
                flipped[bit // 8] ^= 1 << bit % 8
                yield bytes(flipped)


def cose_vectors() -> list[CoseVector]:
    """Return the vectors."""
    return [CoseVector(**vector) for vector in json.loads(_FILE.read_text())["vectors"]]


def signed_vectors() -> list[CoseVector]:
    """Return those that are accepted under a key."""
    return [vector for vector in cose_vectors() if vector.key and not vector.reason]
