"""Bytes that are read in pieces, so that large files need no memory."""

import os
from dataclasses import dataclass
from typing import Protocol


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
