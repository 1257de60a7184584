"""Ways to leave a gateway no room for its answer log: a full file system, or a used-up quota."""

import errno
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

_SIZE = "256m"
_ROOM = 64 * 1024
_BLOCKS = (1 << 20, 1 << 12)


class LogDisk(Protocol):
    """`words` say what `fill` does."""

    words: str

    def fill(self) -> None: ...

    def clear(self) -> None: ...


class SmallDisk:
    """A file system of its own, of 256 MB in memory, which one large file fills."""

    words = "a file fills the log's file system"

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in _BLOCKS:
                with suppress(_NoRoom):
                    while True:
                        _write(file.write, bytes(size))

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


class FileLimit:
    """A limit on the size of the gateway's files (RLIMIT_FSIZE), for who may mount nothing."""

    words = "a limit on the size of the log's files"

    def __init__(self, folder: Path, pid: Callable[[], int]) -> None:
        """`pid` says which process is the gateway."""
        self._folder, self._pid = folder, pid

    def fill(self) -> None:
        sizes = [path.stat().st_size for path in self._folder.glob("answers.db*")]
        self._limit(max(sizes) + _ROOM)

    def clear(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, most: int) -> None:
        resource.prlimit(self._pid(), resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path, pid: Callable[[], int]) -> Iterator[LogDisk]:
    """A disk that can be filled, at the new `folder`, where the answer log is to be. A file system
    of its own is mounted there if we may, until the end.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield FileLimit(folder, pid)
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def release(folder: Path) -> None:
    """Unmount what a drill that was killed has left mounted there."""
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


class _NoRoom(Exception):
    """Nothing more can be written."""


def _write(write: Callable[[bytes], int | None], block: bytes) -> None:
    try:
        written = write(block)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NoRoom from error
        raise
    if written != len(block):
        raise _NoRoom
