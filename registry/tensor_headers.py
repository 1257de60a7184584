"""Whether bytes are a safetensors file, by its header alone.

The library answers that with a copy of every tensor, so that weights of gigabytes would be in
memory twice while they are registered. A test holds this against it.
"""

import json
import math
from itertools import pairwise
from typing import Any

from registry.byte_sources import ByteSource
from registry.json_text import check_values

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
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
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
    """Where a tensor begins and ends."""
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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the header names something twice")
    return found
