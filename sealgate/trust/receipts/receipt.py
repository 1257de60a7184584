"""A receipt: opened fields, inclusion proof and signed checkpoint of one log entry.

A receipt opens some fields of an entry and leaves the others as commitments. It is checked
offline, with nothing but the policy. A receipt of type v1 is that of an entry of the format v1, a
receipt of type v2 that of an entry of the format v2 (`sealgate.trust.receipts.answer_entry`).
"""

from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import answer_entry
from sealgate.trust.receipts.answer_entry import COMMITMENT_SIZE, FIELDS, SALT_SIZE, V1_FIELDS
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, open_checkpoint
from sealgate.trust.transparency.checkpoint import TLOG_PROOF_HEADER

TYPE = "sealgate/receipt/v2"
# By how many fields an entry has.
_TYPES = {len(V1_FIELDS): "sealgate/receipt/v1", len(FIELDS): TYPE}
# A caller who knew the score could climb it.
_KEPT = frozenset({"score", "threshold"})
CALLER_FIELDS = tuple(field for field in FIELDS if field not in _KEPT)


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry's commitments in order, the opened fields (name to salt and value), and the proof.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    commitments: tuple[bytes, ...]
    opened: Mapping[str, tuple[bytes, str]]
    proof: TlogProof

    def __post_init__(self) -> None:
        if len(self.commitments) not in _TYPES:
            raise fields.malformed("a receipt has a commitment for each field")
        if any(len(item) != COMMITMENT_SIZE for item in self.commitments):
            raise fields.malformed("a commitment has not 32 bytes")
        names = self.names
        for field, (salt, _) in self.opened.items():
            if field not in names or len(salt) != SALT_SIZE:
                raise fields.malformed("a receipt opens what is not a field")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the entry's fields, in order."""
        return answer_entry.fields_of(len(self.commitments))

    @property
    def entry(self) -> bytes:
        """The leaf that the commitments make up."""
        return answer_entry.joined(self.commitments)

    @property
    def opens_for_caller(self) -> bool:
        """Whether it opens every field that the caller may see."""
        return self.opened.keys() >= set(self.names) - _KEPT

    @classmethod
    def of(
        cls,
        entry: bytes,
        values: Sequence[str],
        salts: Sequence[bytes],
        proof: TlogProof,
        opening: Iterable[str] | None = None,
    ) -> Self:
        """Make the receipt of a leaf from the values and salts that it was made of.

        It opens what the caller may see where no fields are named.
        """
        names = answer_entry.fields_of(entry)
        pairs = dict(zip(names, zip(salts, values, strict=True), strict=True))
        if opening is None:
            opening = [name for name in names if name not in _KEPT]
        opened = {field: pairs[field] for field in opening}
        return cls(answer_entry.commitments(entry), opened, proof)

    def encode(self) -> bytes:
        """Return the canonical JSON, written directly, for it is on the path of a request."""
        kind = _TYPES[len(self.commitments)]
        commitments = '","'.join([item.hex() for item in self.commitments])
        opened = ",".join(
            [
                f'"{field}":{{"salt":"{salt.hex()}","value":{quote(value)}}}'
                for field, (salt, value) in sorted(self.opened.items())
            ]
        )
        return (
            f'{{"commitments":["{commitments}"],"opened":{{{opened}}},'
            f'"proof":{quote(self.proof.encode())},"type":"{kind}"}}'
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        value = canonical.decode(data)
        # Another type than both is refused as a receipt that is none.
        kind = _TYPES[len(V1_FIELDS)] if _is_v1(value) else TYPE
        outer = fields.record(value, ("commitments", "opened", "proof"), kind)
        opened = {}
        for field, item in fields.mapping(outer["opened"]).items():
            pair = fields.record(item, ("salt", "value"))
            opened[field] = (fields.unhex(pair["salt"], SALT_SIZE), fields.text(pair["value"]))
        commitments = tuple(
            fields.unhex(item, COMMITMENT_SIZE) for item in fields.items(outer["commitments"])
        )
        if _TYPES.get(len(commitments)) != kind:
            raise fields.malformed("a receipt has a commitment for each field")
        return cls(commitments, opened, TlogProof.decode(fields.text(outer["proof"], 1 << 16)))


def receipt_tail(note: str) -> str:
    """The common part of encoded receipts of new entries that one checkpoint covers: their end,
    behind the hashes of the inclusion proof.
    """
    return f'\\n\\n{quote(note)[1:]},"type":"{TYPE}"}}'


def receipt_path(hashes: Iterable[bytes]) -> str:
    """Hashes of an inclusion proof, as they stand in an encoded receipt."""
    return "".join([f"\\n{b2a_base64(item, newline=False).decode()}" for item in hashes])


def encode_caller_receipt(
    entry: bytes,
    values: Sequence[str],
    salts: Sequence[bytes],
    index: int,
    path: str,
    tail: str,
) -> bytes:
    """Return what `Receipt.of(…).encode()` does for the new entry at `index`, in less time.

    `entry` was made from these values and salts, `path` is `receipt_path` of its inclusion proof,
    and `tail` is `receipt_tail` of the checkpoint's note.
    """
    digits = entry[len(answer_entry.HEADER) :].hex()
    commitments = '","'.join([digits[at : at + 64] for at in _COMMITMENTS])
    opened = ",".join(
        [f"{head}{salts[at].hex()}{_VALUE}{quote(values[at])}}}" for at, head in _OPENED]
    )
    return (
        f'{{"commitments":["{commitments}"],"opened":{{{opened}}},'
        f'"proof":"{TLOG_PROOF_HEADER}\\nindex {index}{path}{tail}'
    ).encode()


_COMMITMENTS = range(0, 2 * COMMITMENT_SIZE * len(FIELDS), 2 * COMMITMENT_SIZE)
_VALUE = '","value":'
# The opened fields as they stand in canonical JSON: in the order of their names.
_OPENED = tuple((FIELDS.index(name), f'"{name}":{{"salt":"') for name in sorted(CALLER_FIELDS))


def _is_v1(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == _TYPES[len(V1_FIELDS)]


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """The result of verifying a receipt: the opened fields, and the log's checkpoint."""

    fields: Mapping[str, str]
    checkpoint: Checkpoint


def verify_receipt(receipt: Receipt, policy: Policy) -> VerifiedReceipt:
    """Check a receipt against the logs that the policy names.

    1. Each opened field is what its commitment says (PROOF_INVALID).
    2. The checkpoint's origin is an answer log of the policy (LOG_UNKNOWN).
    3. That log's key has signed the checkpoint (SIGNATURE_INVALID).
    4. The log holds the entry that these commitments make up (PROOF_INVALID).

    Raises SealgateError, also DOCUMENT_MALFORMED for a checkpoint of another form.
    """
    # 1.
    for field, (salt, value) in receipt.opened.items():
        if (
            answer_entry.commit(salt, field, value)
            != receipt.commitments[receipt.names.index(field)]
        ):
            raise SealgateError(Reason.PROOF_INVALID, f"the field {field} is not what was recorded")
    # 2.
    note = receipt.proof.checkpoint_note
    origin = note.partition("\n")[0]
    if not policy.is_answer_log(origin):
        raise SealgateError(Reason.LOG_UNKNOWN, "the policy names no such answer log")
    # 3.
    checkpoint = open_checkpoint(note, policy.log_key(origin))
    # 4.
    merkle.verify_inclusion(
        merkle.leaf_hash(receipt.entry),
        receipt.proof.index,
        checkpoint.size,
        receipt.proof.hashes,
        checkpoint.root,
    )
    values = {field: value for field, (_, value) in receipt.opened.items()}
    return VerifiedReceipt(values, checkpoint)


def verify_by_history(receipt: Receipt, policies: Sequence[Policy]) -> VerifiedReceipt:
    """Check a receipt against the newest of the policies, oldest first, that names its log: later
    ones may have left it out. Raises SealgateError like `verify_receipt`.
    """
    origin = receipt.proof.checkpoint_note.partition("\n")[0]
    named = [policy for policy in policies if policy.is_answer_log(origin)]
    return verify_receipt(receipt, named[-1] if named else policies[-1])
