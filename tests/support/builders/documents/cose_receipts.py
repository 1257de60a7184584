"""COSE receipts and transparent statements of an entry, which is the last but one of a log."""

from sealgate.trust.keys import PrivateKey
from sealgate.trust.receipts.cose_receipt import (
    CoseReceipt,
    TransparentStatement,
    sign_entry,
    sign_root,
)
from sealgate.trust.transparency import Checkpoint, merkle
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.builders.documents.receipts import ENTRY, SIZE

SIGNER = key("answer-log")


def cose_receipt(
    entry: bytes = ENTRY,
    origin: str = ANSWER_LOG,
    signer: PrivateKey = SIGNER,
    size: int = SIZE,
    index: int = -2,
) -> CoseReceipt:
    """The receipt of the entry at `index` of `size`, of which the last but one is `entry`."""
    hashes = [merkle.leaf_hash(b"other %d" % number) for number in range(size)]
    hashes[-2] = merkle.leaf_hash(entry)
    frontier = Frontier.empty().append(hashes)
    signed = sign_root(Checkpoint(origin, size, frontier.root), signer)
    index %= size
    return CoseReceipt(signed, size, index, tuple(frontier.inclusion_proof(index)))


def transparent_statement(entry: bytes = ENTRY, index: int = SIZE - 2) -> TransparentStatement:
    """The statement of `entry`, which says that it is at `index`."""
    signed = sign_entry(ANSWER_LOG, index, entry, SIGNER)
    return TransparentStatement(signed, (cose_receipt(entry),))
