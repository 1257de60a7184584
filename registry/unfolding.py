"""How much a protobuf message unfolds into, counted before it is parsed.

An empty message within another takes two bytes on the wire and a hundred times as many in memory,
so a file's size says little of what reading it costs.
"""

from collections.abc import Mapping
from functools import cache

from google.protobuf.descriptor import Descriptor

# Protobuf parses no more than this many messages within one another.
_DEEPEST = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10


def check_fields(data: bytes, kind: Descriptor, most: int) -> None:
    """Check that a message of that kind, and all within it, have `most` fields together.

    Raises ValueError where there are more, and for what is no such message.
    """
    outer: list[tuple[int, Mapping[int, Descriptor]]] = []
    at, end, inner = 0, len(data), _messages(kind)
    for _ in range(most + 1):
        while at == end and outer:
            end, inner = outer.pop()
        if at >= end:
            break
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _BYTES:
            size, at = _varint(data, at)
            within = inner.get(key >> 3)
            if at + size > end or len(outer) > _DEEPEST:
                raise ValueError("a message that ends before its fields, or is too deep")
            if within is None:
                at += size
            else:
                outer.append((end, inner))
                end, inner = at + size, _messages(within)
        elif wire == _VARINT:
            _, at = _varint(data, at)
        elif wire in _SIZES:
            at += _SIZES[wire]
        else:
            raise ValueError("a field of a form that is not used")
    else:
        raise ValueError("too many fields")
    if at != end:
        raise ValueError("a field that ends after its message")


@cache
def _messages(kind: Descriptor) -> Mapping[int, Descriptor]:
    """The fields of a message that hold messages, by number."""
    return {
        field.number: field.message_type for field in kind.fields if field.message_type is not None
    }


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends. Raises ValueError."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(data):
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number without an end")
