"""The format of answer-log entries: salted commitments to the fields of a request and its answer.

A leaf alone tells nothing about a field, not even to one who guesses its value, for each salt is
128 bits derived from a subject's key. Destroying that key leaves a log that still verifies.

Two formats exist. New entries are v2; v1 entries are still verified.

    v1    "sealgate/answer/v1\n", then 15 commitments    499 bytes
    v2    "sealgate/answer/v2\n", then 21 commitments    691 bytes

    commitment    SHA-256(salt | length of the field's name, 1 byte | name | value in UTF-8)
    salt          16 bytes; the salts of an entry are the output of SHAKE-256 over
                  "sealgate/salts/v1\n" | length of the key, 1 byte | key | nonce

The commitments are in the order of the field names. v2 has the fields of v1 and behind them:

    alias        the alias that the request named, `production` where it named nothing; empty where
                 it named a version; of a comparison, the alias of the version that was compared
    parameters   the digest of all request parameters as the gateway saw them: see
                 `parameters_digest`
    request_id   the caller's own `id` of the protocol
    screening    which screening judged the rows or the prompt: one of SCREENINGS
    arithmetic   what the answer was computed with: one of ARITHMETICS, empty where nobody here can
                 know, as with a foreign server
    actions      what the policy did to the answer: words of ACTIONS, sorted, joined by commas

A field is empty where the request never came to it.

Everything here is on the path of every request, so it is plain hashing.
"""

import hashlib
import hmac
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final

from sealgate.reasons import Reason, SealgateError

V1_FIELDS = (
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
FIELDS = (*V1_FIELDS, "alias", "parameters", "request_id", "screening", "arithmetic", "actions")
"""The fields of a new entry, in order."""
FULL, TWO_STAGE, NONE = SCREENINGS = ("full", "two-stage", "none")
"""Every row or prompt was measured; a first stage decided which rows the response graph measures;
nothing was measured.
"""
INT8: Final = "int8"
FLOAT32: Final = "float32"
MIXED, ANCHOR = "mixed", "anchor"
INT8_INTEGER = "int8-integer"
ARITHMETICS = (INT8, FLOAT32, MIXED, ANCHOR, INT8_INTEGER)
"""The quantized model; the float32 model, as where its class is another; either, by row; of some
rows at least, the class that was answered to a row of the same caller that it nearly repeats; a
language model's quantized matrices times rounded inputs.
"""
BY_ALLOWANCE, BLOCKED, BY_CANARY, LABELS, MASKED, NOTED = ACTIONS = (
    "allowance",
    "blocked",
    "canary",
    "label-only",
    "masked",
    "recorded",
)
"""It left by a second person's allowance; it was withheld; `canary` gave it, in production's stead;
of each row the likeliest class alone left; parts of it were removed; it held what the policy only
records.
"""
SEPARATE = "separate, digest checked there"
"""The beginning of the field `engine` for one in a process of its own."""
READ = "read"
"""The outcome of a call that was shown audit data; its `input` says what it asked for."""
AGREED, DIFFERED = "agreed", "differed"
"""The outcomes where a version was asked only to compare its answer, which no caller got."""
REDUCED, SESSION = "reduced", "session"
"""The outcome of an entry that says, in the place of its output, for what the answer of the
caller's next entry was reduced to its likeliest classes: for their session. The consequences of
verdict and roles follow from the policy, and need no entry.
"""
REPORTED = "reported"
"""The outcome of an entry that says what was true of an answer: its `input` is the index of the
answer's entry, its `output` JSON (`gateway.outcomes`).
"""
ALARMED = "alarmed"
"""The outcome of an entry that says in its `output` which limit of the policy's section `outcomes`
the promotion of its model, alias and version has passed.
"""
OPENED, CUT = "opened", "cut"
"""The outcomes of a generated answer whose first part is about to leave, and of one whose caller
left before its last part. An entry of how it ended follows the first, with the same time and input.
"""
SALT_SIZE = 16
COMMITMENT_SIZE = 32
V1_HEADER = b"sealgate/answer/v1\n"
HEADER = b"sealgate/answer/v2\n"
LEAF_SIZE = len(HEADER) + COMMITMENT_SIZE * len(FIELDS)

_TENSORS_HEADER = b"sealgate/tensors/v1\n"
_FIRST = itemgetter(0)
_CACHED_HEADS = 1024
_SALTS_HEADER = b"sealgate/salts/v1\n"
_PREFIXES = tuple(bytes([len(field)]) + field.encode("ascii") for field in FIELDS)
_PREFIX_OF = dict(zip(FIELDS, _PREFIXES, strict=True))
_FORMATS = ((V1_HEADER, V1_FIELDS), (HEADER, FIELDS))
_FIELDS_OF_COUNT = {len(names): names for _, names in _FORMATS}
_HEADER_OF_COUNT = {len(names): header for header, names in _FORMATS}
_FIELDS_OF_LEAF = {
    (header, len(header) + COMMITMENT_SIZE * len(names)): names for header, names in _FORMATS
}


def commit(salt: bytes, field: str, value: str) -> bytes:
    """Return SHA-256 of the 16-byte salt, the field's length in one byte, the field, the value."""
    return hashlib.sha256(salt + _PREFIX_OF[field] + value.encode("utf-8")).digest()


def fields_of(leaf_or_count: bytes | int) -> tuple[str, ...]:
    """Return the field names of a leaf, or of an entry with so many values, in order.

    Raises SealgateError(DOCUMENT_MALFORMED) for what is no leaf, and for another number.
    """
    if isinstance(leaf_or_count, int):
        names = _FIELDS_OF_COUNT.get(leaf_or_count)
    else:
        leaf_format = leaf_or_count[: len(HEADER)], len(leaf_or_count)
        names = _FIELDS_OF_LEAF.get(leaf_format)
    if names is None:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not an entry of an answer log")
    return names


def salts(subject_key: bytes, nonce: bytes, count: int = len(FIELDS)) -> tuple[bytes, ...]:
    """Return a 16-byte salt for each of `count` fields, in order.

    The nonce must be fresh for each entry, or equal values would show as equal commitments.
    Raises ValueError for a key of more than 255 bytes.
    """
    if len(subject_key) > 255:
        raise ValueError("a subject's key has at most 255 bytes")
    keyed = _SALTS_HEADER + bytes([len(subject_key)]) + subject_key + nonce
    size = SALT_SIZE * count
    stream = hashlib.shake_256(keyed).digest(size)
    return tuple([stream[at : at + SALT_SIZE] for at in range(0, size, SALT_SIZE)])


def leaf(values: Sequence[str], salts: Sequence[bytes]) -> bytes:
    """Return the entry that the log keeps: a header, then the commitment to each field in order.

    `values` and `salts` have one item for each field of v2, or of v1. Raises SealgateError
    (DOCUMENT_MALFORMED) for another number of values, ValueError for another number of salts.
    """
    sha256 = hashlib.sha256
    prefixes = _PREFIXES[: len(fields_of(len(values)))]
    commitments = [
        sha256(salt + prefix + value.encode("utf-8")).digest()
        for salt, prefix, value in zip(salts, prefixes, values, strict=True)
    ]
    return joined(commitments)


def joined(commitments: Sequence[bytes]) -> bytes:
    """Return the leaf that these commitments make up. Raises SealgateError(DOCUMENT_MALFORMED)."""
    header = _HEADER_OF_COUNT.get(len(commitments))
    if header is None:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not the commitments of an entry")
    return header + b"".join(commitments)


def commitments(entry: bytes) -> tuple[bytes, ...]:
    """Return the commitments of a leaf, in order. Raises SealgateError(DOCUMENT_MALFORMED)."""
    fields_of(entry)
    starts = range(len(HEADER), len(entry), COMMITMENT_SIZE)
    return tuple([entry[at : at + COMMITMENT_SIZE] for at in starts])


def tensors_digest(tensors: Iterable[tuple[str, str, Sequence[int], bytes]]) -> str:
    """Return the digest of tensors given as (name, datatype, shape, raw bytes), in any order.

    SHA-256 over a header and the number of tensors, then for each, by name: name and datatype,
    each after its length in UTF-8; the number of dimensions and the dimensions; the raw bytes
    after their length. Every number is 8 bytes, big-endian. Raises SealgateError(TENSOR_DUPLICATE).
    """
    ordered = list(tensors)
    if len(ordered) == 1:
        name, datatype, shape, raw = ordered[0]
        return _digest_text(_lone_head(name, datatype, tuple(shape), len(raw)), raw)
    ordered.sort(key=_FIRST)
    digest = hashlib.sha256(_header(len(ordered)))
    previous = None
    for name, datatype, shape, raw in ordered:
        if name == previous:
            raise SealgateError(Reason.TENSOR_DUPLICATE)
        previous = name
        digest.update(_tensor_head(name, datatype, tuple(shape), len(raw)))
        digest.update(raw)
    return "sha256:" + digest.hexdigest()


def _python_digest_text(head: bytes, raw: bytes) -> str:
    """`sha256:` and the digest of both, one behind the other, in hexadecimal."""
    digest = hashlib.sha256(head)
    digest.update(raw)
    return "sha256:" + digest.hexdigest()


def _fastest_digest_text() -> Callable[[bytes, bytes], str]:
    """The fastest that is installed: of few bytes, hashlib's takes three times as long."""
    try:
        from sealgate_front import digest_text
    except ImportError:
        return _python_digest_text
    return digest_text


_digest_text = _fastest_digest_text()


@lru_cache(_CACHED_HEADS)
def _header(count: int) -> bytes:
    return _TENSORS_HEADER + struct.pack(">Q", count)


@lru_cache(_CACHED_HEADS)
def _lone_head(name: str, datatype: str, shape: tuple[int, ...], size: int) -> bytes:
    """The bytes before the raw bytes of a tensor that is the only one."""
    return _header(1) + _tensor_head(name, datatype, shape, size)


@lru_cache(_CACHED_HEADS)
def _tensor_head(name: str, datatype: str, shape: tuple[int, ...], size: int) -> bytes:
    """The bytes before a tensor's raw bytes. Most tensors of a gateway have the same."""
    texts = (name.encode("utf-8"), datatype.encode("utf-8"))
    head = [struct.pack(">Q", len(text)) + text for text in texts]
    head.append(struct.pack(f">{len(shape) + 2}Q", len(shape), *shape, size))
    return b"".join(head)


SALT_BYTES = 16
_HASH_BYTES = 32
_FORM = re.compile(r"scrypt:([0-9a-f]{32}):([0-9a-f]{64})")


def pseudonym(name: str, salt: bytes) -> str:
    """Return `scrypt:<salt>:<hash>` in hexadecimal. `salt` is 16 random bytes."""
    if len(salt) != SALT_BYTES:
        raise ValueError("a salt has 16 bytes")
    hashed = hashlib.scrypt(name.encode("utf-8"), salt=salt, n=2**14, r=8, p=1, dklen=_HASH_BYTES)
    return f"scrypt:{salt.hex()}:{hashed.hex()}"


def is_pseudonym(text: str, name: str) -> bool:
    """Say whether `text` is a pseudonym of that name."""
    found = _FORM.fullmatch(text)
    return found is not None and hmac.compare_digest(pseudonym(name, bytes.fromhex(found[1])), text)
