"""Checks that a version's files are ONNX, safetensors or JSON, by name and content.

Nothing is unpickled, unpacked or executed. An ONNX file must contain all its data: models that
refer to other files have been used to read files of the host. JSON must read the same everywhere,
so repeated names and extreme values are refused; values are counted before they are built, because
`[[],[],...]` needs twenty times its size in memory. A file whose metadata says that it is a copy
exported for a recipient is refused.

The same is the task of a sandboxed worker. A manifest's signature is checked before; so the files
are a publisher's, and hostile at worst. The worker's reply is whether each file is whole
(VERSION_ALTERED), of an accepted format (FORMAT_REFUSED, EXTERNAL_DATA) and no exported copy
(COPY_REFUSED).
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from registry.formats.bounded_bytes import ByteSource, FileBytes, MemoryBytes
from registry.formats.onnx_check import check_onnx
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import raw

MOST_VALUES = 2 << 20
"""Values in a file: a tokenizer of some 200,000 tokens and 500,000 merges."""
# Readers may limit the digits of a whole number; this is the limit of Python's.
_MOST_DIGITS = 4300


def check_values(data: bytes, most: int = MOST_VALUES) -> None:
    """Raises ValueError where JSON may have more than `most` values.

    Each value but the first follows a bracket or a comma. Those within texts count too.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) >= most:
        raise ValueError("too many values")


def check_json(data: bytes) -> None:
    """Check JSON text, of which nothing is kept but its lists.

    Raises ValueError for what is not JSON, names something twice in an object, has NaN or
    infinity, is nested too deep, or has too many values or too long a number.
    """
    check_values(data)
    try:
        json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_no_constant,
            parse_int=_short,
            parse_float=_short,
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("an object names something twice")


def _short(number: str) -> None:
    if len(number) > _MOST_DIGITS:
        raise ValueError("a number of too many digits")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


LARGEST_HEADER = 16 << 20
"""Of the JSON that describes the tensors: 150,000 of them."""
_METADATA = "__metadata__"
_OURS = "sealgate."
_MOST_DIMENSIONS = 16
_SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


def check_header(source: ByteSource) -> dict[str, str]:
    """Return the metadata whose names begin with `sealgate.`.

    Raises ValueError unless the tensors that the header describes fill the file, one right behind
    the other, each as large as its type and shape say.
    """
    size = int.from_bytes(source.read(0, 8), "little")
    if source.size < 8 or size > min(LARGEST_HEADER, source.size - 8):
        raise ValueError("too short, or with too large a header")
    text = source.read(8, size)
    if not text.startswith(b"{"):
        raise ValueError("the header is no object")
    check_values(text)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=fields.unique_members)
    except RecursionError as error:
        raise ValueError("the header is nested") from error
    notes = header.pop(_METADATA, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ValueError("metadata that are not texts")
    for word in (*header, *notes, *notes.values()):
        # Half a surrogate pair, which JSON can spell and UTF-8 cannot.
        word.encode()
    places = sorted(_place(tensor) for tensor in header.values())
    ends = [(0, 0), *places, (source.size - 8 - size,) * 2]
    if any(before[1] != after[0] for before, after in pairwise(ends)):
        raise ValueError("tensors that overlap, or bytes that are no tensor's")
    return {name: note for name, note in notes.items() if name.startswith(_OURS)}


def _place(tensor: Any) -> tuple[int, int]:
    """Return where a tensor begins and ends."""
    if not isinstance(tensor, dict) or tensor.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("a tensor is not described by type, shape and place")
    size = _SIZES.get(tensor["dtype"]) if isinstance(tensor["dtype"], str) else None
    shape, place = _numbers(tensor["shape"]), _numbers(tensor["data_offsets"])
    if size is None or len(shape) > _MOST_DIMENSIONS or len(place) != 2:
        raise ValueError("a tensor of another type or form")
    if place[1] - place[0] != size * math.prod(shape):
        raise ValueError("a tensor is not as large as it says")
    return place[0], place[1]


def _numbers(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
        raise ValueError("not a list of sizes")
    return value


LARGEST_JSON = 16 << 20


def check_name(path: str) -> str:
    """Return the extension of a file that may be part of a version.

    Raises SealgateError(FORMAT_REFUSED).
    """
    extension = path[path.rfind(".") :] if "." in path else ""
    if extension not in _CHECKS:
        raise SealgateError(Reason.FORMAT_REFUSED, f"{path}: not a name that is accepted")
    return extension


def check_file(path: str, data: bytes) -> None:
    """Check that a file is what its name says.

    Raises SealgateError: FORMAT_REFUSED, or EXTERNAL_DATA for an ONNX file that refers to another.
    """
    check_source(path, MemoryBytes(data))


def check_source(path: str, source: ByteSource) -> dict[str, str]:
    """The same for bytes that are read in pieces; returns the notes in the file's metadata whose
    names begin with `sealgate.`.
    """
    return _CHECKS[check_name(path)](path, source)


def _check_safetensors(path: str, source: ByteSource) -> dict[str, str]:
    try:
        return check_header(source)
    except ValueError as error:
        raise _refused(path, "not safetensors") from error


def _check_json(path: str, source: ByteSource) -> dict[str, str]:
    if source.size > LARGEST_JSON:
        raise _refused(path, "JSON that is too large")
    try:
        check_json(source.read(0, source.size))
    except ValueError as error:
        raise _refused(path, "not JSON, or too many values") from error
    return {}


_CHECKS: Mapping[str, Callable[[str, ByteSource], dict[str, str]]] = {
    ".onnx": check_onnx,
    ".safetensors": _check_safetensors,
    ".json": _check_json,
}


def _refused(path: str, detail: str) -> SealgateError:
    return SealgateError(Reason.FORMAT_REFUSED, f"{path}: {detail}")


# The note, in an ONNX file's metadata or a safetensors file's, that holds the parent's digest.
PARENT = "sealgate.parent"


def check_no_copy(path: str, notes: Mapping[str, str]) -> None:
    """Check a file by the notes in its metadata. Raises SealgateError(COPY_REFUSED) for a copy."""
    if PARENT in notes:
        raise SealgateError(Reason.COPY_REFUSED, f"{path} is a copy of {notes[PARENT][:80]}")


TASK = "registry.formats.format_check:run"
_BLOCK = 1 << 20


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """The worker's side. The request is a list of files: path, size, digest and descriptor."""
    for path, size, digest, descriptor in canonical.decode(request):
        source = FileBytes(descriptor, size)
        _check_digest(source, digest)
        check_no_copy(path, check_source(path, source))


def _check_digest(source: FileBytes, digest: str) -> None:
    hasher, at = hashlib.sha256(), 0
    while block := source.read(at, _BLOCK):
        hasher.update(block)
        at += len(block)
    # A file that has grown is another one.
    more = FileBytes(source.descriptor, source.size + 1).read(source.size, 1)
    if at != source.size or more or hasher.digest() != raw(digest):
        raise SealgateError(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")
