"""Protobuf's wire form, written by hand: what no library writes can be tried with it."""


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the least first."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def field(number: int, value: int | bytes) -> bytes:
    """A field that holds a number, or bytes: a text, a message or packed numbers."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
