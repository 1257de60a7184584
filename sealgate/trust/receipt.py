"""Receipts: the proof, complete in itself, that an answer or a refusal was recorded.

A receipt opens some fields of an entry and leaves the others as commitments. It is checked
offline, with nothing but the policy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import Self

from sealgate.reasons import Reason, Refusal
from sealgate.trust import answer, canonical, fields, merkle
from sealgate.trust.answer import COMMITMENT_SIZE, FIELDS, SALT_SIZE
from sealgate.trust.checkpoint import Checkpoint, open_checkpoint
from sealgate.trust.policy import Policy
from sealgate.trust.proof import TlogProof

TYPE = "sealgate/receipt/v1"
# A caller who knew the score could climb it.
CALLER_FIELDS = tuple(field for field in FIELDS if field not in ("score", "threshold"))


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry's commitments in order, the opened fields (name to salt and value), and the proof.

    Raises Refusal(DOCUMENT_MALFORMED).
    """

    commitments: tuple[bytes, ...]
    opened: Mapping[str, tuple[bytes, str]]
    proof: TlogProof

    def __post_init__(self) -> None:
        if len(self.commitments) != len(FIELDS):
            raise fields.malformed("a receipt has a commitment for each field")
        if any(len(item) != COMMITMENT_SIZE for item in self.commitments):
            raise fields.malformed("a commitment has not 32 bytes")
        for field, (salt, _) in self.opened.items():
            if field not in FIELDS or len(salt) != SALT_SIZE:
                raise fields.malformed("a receipt opens what is not a field")

    @classmethod
    def of(
        cls,
        entry: bytes,
        values: Sequence[str],
        salts: Sequence[bytes],
        proof: TlogProof,
        opening: Iterable[str] = CALLER_FIELDS,
    ) -> Self:
        """Make the receipt of a leaf from the values and salts that it was made of."""
        pairs = dict(zip(FIELDS, zip(salts, values, strict=True), strict=True))
        opened = {field: pairs[field] for field in opening}
        return cls(answer.commitments(entry), opened, proof)

    def encode(self) -> bytes:
        """Return the canonical JSON, written directly, for it is on the path of a request."""
        commitments = '","'.join([item.hex() for item in self.commitments])
        opened = ",".join(
            [
                f'"{field}":{{"salt":"{salt.hex()}","value":{quote(value)}}}'
                for field, (salt, value) in sorted(self.opened.items())
            ]
        )
        return (
            f'{{"commitments":["{commitments}"],"opened":{{{opened}}},'
            f'"proof":{quote(self.proof.encode())},"type":"{TYPE}"}}'
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises Refusal(DOCUMENT_MALFORMED)."""
        names = ("commitments", "opened", "proof")
        outer = fields.record(canonical.decode(data), names, TYPE)
        opened = {}
        for field, value in fields.mapping(outer["opened"]).items():
            pair = fields.record(value, ("salt", "value"))
            opened[field] = (fields.unhex(pair["salt"], SALT_SIZE), fields.text(pair["value"]))
        return cls(
            tuple(
                fields.unhex(item, COMMITMENT_SIZE) for item in fields.items(outer["commitments"])
            ),
            opened,
            TlogProof.decode(fields.text(outer["proof"], 1 << 16)),
        )


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt proves: the opened fields, and the log at the moment of the record."""

    fields: Mapping[str, str]
    checkpoint: Checkpoint


def verify_receipt(receipt: Receipt, policy: Policy) -> VerifiedReceipt:
    """Check a receipt against the logs that the policy names.

    1. Each opened field is what its commitment says (PROOF_INVALID).
    2. The checkpoint's origin is an answer log of the policy (LOG_UNKNOWN).
    3. That log's key has signed the checkpoint (SIGNATURE_INVALID).
    4. The log holds the entry that these commitments make up (PROOF_INVALID).

    Raises Refusal, also DOCUMENT_MALFORMED for a checkpoint of another form.
    """
    # 1.
    for field, (salt, value) in receipt.opened.items():
        if answer.commit(salt, field, value) != receipt.commitments[FIELDS.index(field)]:
            raise Refusal(Reason.PROOF_INVALID, f"the field {field} is not what was recorded")
    # 2.
    note = receipt.proof.checkpoint_note
    origin = note.partition("\n")[0]
    if not policy.is_answer_log(origin):
        raise Refusal(Reason.LOG_UNKNOWN, "the policy names no such answer log")
    # 3.
    checkpoint = open_checkpoint(note, policy.log_key(origin))
    # 4.
    entry = answer.HEADER + b"".join(receipt.commitments)
    merkle.verify_inclusion(
        merkle.leaf_hash(entry),
        receipt.proof.index,
        checkpoint.size,
        receipt.proof.hashes,
        checkpoint.root,
    )
    values = {field: value for field, (_, value) in receipt.opened.items()}
    return VerifiedReceipt(values, checkpoint)
