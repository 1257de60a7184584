"""Reads bytes within bounds: in pieces, and the fields of a protobuf message without building it.

An empty message within another takes two bytes on the wire and a hundred times as many in memory,
and a packed number one byte on the wire and eight in memory. So a file's size says little about
what parsing it costs, and every field and every packed varint counts towards one bound. Bytes,
texts and packed numbers of fixed width take as much memory as on the wire: they are skipped unread.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types that are in use; groups are not."""
_WIDTHS = {FIXED64: 8, FIXED32: 4}
# Protobuf parses no more than this many messages within one another.
_DEEPEST = 100
_LONGEST_VARINT = 10
_LARGEST_KEY = 2**32
_WINDOW = 1 << 20
# Of a field's bytes, what a visitor is shown.
_SHOWN = 128
# 1 for each byte of a varint that is not its last, 0 for its last.
_CONTINUES = bytes(128) + b"\x01" * 128


class ByteSource(Protocol):
    """Bytes of a known number."""

    @property
    def size(self) -> int: ...

    def read(self, at: int, count: int) -> bytes:
        """The bytes from `at` on, `count` of them, or fewer where they end."""


@dataclass(frozen=True, slots=True)
class MemoryBytes:
    """Bytes that are in memory anyway."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, at: int, count: int) -> bytes:
        return self.data[at : at + count]


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The first `size` bytes of an open file, by its descriptor."""

    descriptor: int
    size: int

    def read(self, at: int, count: int) -> bytes:
        pieces, end = [], min(at + count, self.size)
        while at < end and (piece := os.pread(self.descriptor, end - at, at)):
            pieces.append(piece)
            at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the schema: its wire type, whether it may repeat, and the message it holds."""

    wire: int
    repeated: bool = False
    message: "Message | None" = None


@dataclass(slots=True, eq=False)
class Message:
    """A message of the schema: its fields by number."""

    name: str
    fields: dict[int, Field] = field(default_factory=dict)


Visitor = Callable[[str, int, int, int | bytes], None]
"""Called with a message's name, a field's number, how many messages are around that message, and
the field's value: a number, several numbers as they are packed, or the beginning of its bytes (of
a message, none).
"""


def walk_fields(
    source: ByteSource,
    root: Message,
    most: int,
    visited: Mapping[str, Collection[int]],
    visit: Visitor,
) -> None:
    """Walk a message of the kind `root`; call `visit` for the fields that `visited` lists.

    Raises ValueError for what is no such message, has a field that the schema does not know, or
    has more than `most` fields and packed varints, those of the messages within it included.
    """
    cursor = _Cursor(source, most)
    outer: list[tuple[int, Message]] = []
    end, message = source.size, root
    while True:
        while cursor.position == end and outer:
            end, message = outer.pop()
        if cursor.position >= end:
            break
        cursor.count(1)
        key = cursor.varint()
        number = key >> 3
        found = message.fields.get(number)
        if found is None or key >= _LARGEST_KEY:
            raise ValueError("a field that the format does not know")
        shown = number in visited.get(message.name, ())
        if key & 7 == BYTES:
            size = cursor.varint()
            if size > end - cursor.position:
                raise ValueError("a message that ends before its fields")
            value: int | bytes = cursor.shown(found, size) if shown else b""
            if found.message is None:
                value = cursor.skip(found, size) or value
            if shown:
                visit(message.name, number, len(outer), value)
            if found.message is None:
                continue
            if len(outer) >= _DEEPEST:
                raise ValueError("messages too deep within one another")
            outer.append((end, message))
            end, message = cursor.position + size, found.message
        else:
            value = cursor.number(found, key & 7)
            if shown:
                visit(message.name, number, len(outer), value)
    if cursor.position != end:
        raise ValueError("a field that ends after its message")


class _Cursor:
    """A place in a source, and how many fields there may be from here on."""

    def __init__(self, source: ByteSource, most: int) -> None:
        self._source = source
        self._left = most
        self.position = 0
        self._window, self._start = b"", 0

    def count(self, fields: int) -> None:
        self._left -= fields
        if self._left < 0:
            raise ValueError("too many fields")

    def varint(self) -> int:
        at = self.position - self._start
        if not 0 <= at <= len(self._window) - _LONGEST_VARINT:
            self._window, self._start = self._source.read(self.position, _WINDOW), self.position
            at = 0
        value = shift = 0
        for byte in self._window[at : at + _LONGEST_VARINT]:
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("a number without an end")

    def number(self, expected: Field, wire: int) -> int:
        """Read a number; only a varint's value is returned."""
        if wire != expected.wire:
            raise ValueError("a field of another form than the format's")
        if wire == VARINT:
            return self.varint()
        self.position += _WIDTHS[wire]
        return 0

    def shown(self, of: Field, size: int) -> bytes:
        return b"" if of.message else self._source.read(self.position, min(size, _SHOWN))

    def skip(self, of: Field, size: int) -> bytes:
        """Skip bytes, or packed numbers; varints are counted, and returned as they are."""
        packed = b""
        if of.wire == VARINT and of.repeated:
            packed = self._packed(size)
        elif of.wire != BYTES and (not of.repeated or size % _WIDTHS[of.wire]):
            raise ValueError("a field of another form than the format's")
        self.position += size
        return packed

    def _packed(self, size: int) -> bytes:
        if size > self._left * _LONGEST_VARINT:
            raise ValueError("too many fields, or numbers without an end")
        packed = self._source.read(self.position, size)
        marks = packed.translate(_CONTINUES)
        if marks.endswith(b"\x01") or b"\x01" * _LONGEST_VARINT in marks:
            raise ValueError("a number without an end")
        self.count(marks.count(0))
        return packed
