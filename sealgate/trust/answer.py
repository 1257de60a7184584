"""The leaf of an answer log: salted commitments to what was asked and answered, nothing else.

A leaf alone tells nothing about a field, not even to one who guesses its value, for each salt is
128 bits derived from a subject's key. Destroying that key leaves a log that still verifies.

Everything here is on the path of every request, so it is plain hashing.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

from sealgate.reasons import Reason, Refusal

FIELDS = (
    "time",
    "principal",
    "method",
    "model",
    "version",
    "version_digest",
    "pointer_sequence",
    "policy_digest",
    "input",
    "output",
    "outcome",
    "verdict",
    "score",
    "threshold",
    "engine",
)
READ = "read"
"""The outcome of a call that was shown audit data; its `input` says what it asked for."""
AGREED, DIFFERED = "agreed", "differed"
"""The outcomes where a version was asked only to compare its answer, which no caller got."""
REDUCED, SESSION = "reduced", "session"
"""The outcome of an entry that says, in the place of its output, for what the answer of the
caller's next entry was reduced to its likeliest classes: for their session. What verdict and roles
lead to follows from the policy, and needs no entry.
"""
OPENED, CUT = "opened", "cut"
"""The outcomes of a generated answer whose first part is about to leave, and of one whose caller
left before its last part. An entry of how it ended follows the first, with the same time and input.
"""
SALT_SIZE = 16
COMMITMENT_SIZE = 32
HEADER = b"sealgate/answer/v1\n"
LEAF_SIZE = len(HEADER) + COMMITMENT_SIZE * len(FIELDS)

_TENSORS_HEADER = b"sealgate/tensors/v1\n"
_SALTS_HEADER = b"sealgate/salts/v1\n"
_SALTS_SIZE = SALT_SIZE * len(FIELDS)
_PREFIXES = tuple(bytes([len(field)]) + field.encode("ascii") for field in FIELDS)
_PREFIX_OF = dict(zip(FIELDS, _PREFIXES, strict=True))


def commit(salt: bytes, field: str, value: str) -> bytes:
    """Return SHA-256 of the 16-byte salt, the field's length in one byte, the field, the value."""
    return hashlib.sha256(salt + _PREFIX_OF[field] + value.encode("utf-8")).digest()


def salts(subject_key: bytes, nonce: bytes) -> tuple[bytes, ...]:
    """Return a 16-byte salt for each field, in order: the output, cut to pieces, of SHAKE-256 over
    a header, the key after its length in one byte, and the nonce.

    The nonce must be fresh for each entry, or equal values would show as equal commitments.
    Raises ValueError for a key of more than 255 bytes.
    """
    if len(subject_key) > 255:
        raise ValueError("a subject's key has at most 255 bytes")
    keyed = _SALTS_HEADER + bytes([len(subject_key)]) + subject_key + nonce
    stream = hashlib.shake_256(keyed).digest(_SALTS_SIZE)
    return tuple([stream[at : at + SALT_SIZE] for at in range(0, _SALTS_SIZE, SALT_SIZE)])


def leaf(values: Sequence[str], salts: Sequence[bytes]) -> bytes:
    """Return the entry that the log keeps: a header, then the commitment to each field in order.

    `values` and `salts` have one item for each of FIELDS. Raises ValueError if not.
    """
    sha256 = hashlib.sha256
    commitments = [
        sha256(salt + prefix + value.encode("utf-8")).digest()
        for salt, prefix, value in zip(salts, _PREFIXES, values, strict=True)
    ]
    return HEADER + b"".join(commitments)


def commitments(entry: bytes) -> tuple[bytes, ...]:
    """Return the commitments of a leaf, in order. Raises Refusal(DOCUMENT_MALFORMED)."""
    if len(entry) != LEAF_SIZE or not entry.startswith(HEADER):
        raise Refusal(Reason.DOCUMENT_MALFORMED, "not an entry of an answer log")
    return tuple(
        [entry[at : at + COMMITMENT_SIZE] for at in range(len(HEADER), LEAF_SIZE, COMMITMENT_SIZE)]
    )


def tensors_digest(tensors: Iterable[tuple[str, str, Sequence[int], bytes]]) -> str:
    """Return the digest of tensors given as (name, datatype, shape, raw bytes), in any order.

    SHA-256 over a header and the number of tensors, then for each, by name: name and datatype,
    each after its length in UTF-8; the number of dimensions and the dimensions; the raw bytes
    after their length. Every number is 8 bytes, big-endian. Raises Refusal(TENSOR_DUPLICATE).
    """
    ordered = sorted(tensors, key=lambda tensor: tensor[0])
    digest = hashlib.sha256(_TENSORS_HEADER + struct.pack(">Q", len(ordered)))
    previous = None
    for name, datatype, shape, raw in ordered:
        if name == previous:
            raise Refusal(Reason.TENSOR_DUPLICATE)
        previous = name
        texts = (name.encode("utf-8"), datatype.encode("utf-8"))
        head = [struct.pack(">Q", len(text)) + text for text in texts]
        head.append(struct.pack(f">{len(shape) + 2}Q", len(shape), *shape, len(raw)))
        digest.update(b"".join(head))
        digest.update(raw)
    return "sha256:" + digest.hexdigest()
