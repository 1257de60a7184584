"""Reads regular files only, and replaces files durably and atomically."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, TypeAlias


class NotRegularFileError(OSError):
    """A path names something else than a regular file, or a link where none is followed."""


def open_regular_file(path: Path | str, *, follow_links: bool = True) -> BinaryIO:
    """Open a file to read it, and never wait for one: a named pipe would wait for its writer.

    The open file is looked at, not the path, so that no swap can come between. Raises OSError:
    NotRegularFileError for a pipe, a socket, a device or a folder.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise _not_regular(path) from error
    try:
        check_regular(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_regular(descriptor: int, path: Path | str) -> None:
    """Check that an open file is a regular one. Raises OSError, also NotRegularFileError."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _not_regular(path)


def read_regular_file(path: Path | str, largest: int = -1) -> bytes:
    """At most `largest` bytes of a regular file. Raises like `open_regular_file`."""
    with open_regular_file(path) as file:
        return file.read(largest)


def _not_regular(path: Path | str) -> NotRegularFileError:
    return NotRegularFileError(errno.EINVAL, "not a regular file", str(path))


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, readable by its owner only. On return it is on the disk.

    Raises OSError, and then the old file is as it was.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


Stamps: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""Of each file: device, inode, size, time of change in ns; None where there is none."""


def stamps(paths: Iterable[Path | None]) -> Stamps:
    """Return stamps (device, inode, size, times) of files, to detect changes."""
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
