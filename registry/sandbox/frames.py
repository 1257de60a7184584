"""The frames in which a worker replies: kind (one byte), length (eight bytes, big-endian), bytes.

A worker may have been taken over by what it runs, so frames are plain bytes with a bound, and
whoever reads one checks what is in it. Nothing is ever unpickled.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

CONFINED, DATA, REFUSAL, END = b"C", b"D", b"R", b"E"
_HEAD = struct.Struct(">cQ")
_LONGEST_REFUSAL = _LONGEST_CONFINED = 4096
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
# The reasons that running a model or checking its files can end with; a worker may name no others.
_REASONS = {
    reason.name: reason
    for reason in (
        Reason.CALIBRATION_TOO_SMALL,
        Reason.COPY_REFUSED,
        Reason.DOCUMENT_MALFORMED,
        Reason.EXTERNAL_DATA,
        Reason.FORMAT_REFUSED,
        Reason.GOLDEN_MISMATCH,
        Reason.GRADIENT_MISSING,
        Reason.GRAPH_MISMATCH,
        Reason.INTERNAL,
        Reason.TENSOR_SHAPE,
        Reason.VERSION_ALTERED,
        Reason.WORKER_FAILED,
        Reason.WORKER_FORBIDDEN,
        Reason.WORKER_LIMIT,
        Reason.WORKER_UNCONFINED,
    )
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: `kind` is CONFINED, DATA, REFUSAL or END.

    CONFINED comes first, before the worker has read anything of others: a line of text for each
    part of its confinement that this system does not allow.
    """

    kind: bytes
    data: bytes


def write_frame(stream: IO[bytes], kind: bytes, data: bytes = b"") -> None:
    stream.write(_HEAD.pack(kind, len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes], most: int) -> Frame | None:
    """The next frame, or None where the stream ends before it does.

    Raises: WORKER_FAILED for what is no frame, or holds more than `most` bytes.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, size = _HEAD.unpack(head)
    allowed = {
        CONFINED: _LONGEST_CONFINED,
        DATA: most,
        REFUSAL: _LONGEST_REFUSAL,
        END: 0,
    }
    if size > allowed.get(kind, -1):
        raise SealgateError(Reason.WORKER_FAILED, "its answer is no frame, or too long a one")
    data = stream.read(size)
    return Frame(kind, data) if len(data) == size else None


def encode_missing(missing: Iterable[str]) -> bytes:
    """The data of CONFINED."""
    lines = "\n".join(_UNPRINTABLE.sub("?", text) for text in missing)
    return lines.encode()[:_LONGEST_CONFINED]


def decode_missing(data: bytes) -> tuple[str, ...]:
    """Return what `encode_missing` was given, in printable form."""
    lines = data.decode("ascii", "replace").split("\n") if data else []
    return tuple(_UNPRINTABLE.sub("?", line) for line in lines)


def encode_refusal(refusal: SealgateError) -> bytes:
    """The refusal as canonical JSON; a reason that is not a worker's becomes WORKER_FAILED."""
    reason = refusal.reason if refusal.reason.name in _REASONS else Reason.WORKER_FAILED
    detail = _UNPRINTABLE.sub("?", refusal.detail)[:1000]
    return canonical.encode({"reason": reason.name, "detail": detail})


def decode_refusal(data: bytes) -> SealgateError:
    """The refusal in a frame; one that is malformed is itself a WORKER_FAILED.

    Its detail is from the worker: it is cut to what can be printed without harm.
    """
    try:
        item = fields.record(canonical.decode(data), ("reason", "detail"))
        reason = _REASONS.get(fields.text(item["reason"]), Reason.WORKER_FAILED)
        return SealgateError(reason, _UNPRINTABLE.sub("?", fields.text(item["detail"])))
    except SealgateError:
        return SealgateError(Reason.WORKER_FAILED, "its refusal is malformed")
