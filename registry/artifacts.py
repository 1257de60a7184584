"""The artifact store: a folder of files that are named by the digest of their bytes.

No path is ever made from a name that a caller gave: a digest is checked for its form, and only
its hexadecimal digits reach the file system. A file appears under its name only when it is whole
and on the disk. What is read is hashed again, so the bytes that were checked are the bytes that
are used.
"""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sealgate.reasons import Reason, Refusal
from sealgate.trust import digest as digests

_BLOCK = 1 << 20


class ArtifactStore:
    """Files under `folder`, none over `largest` bytes. Threads and processes may share it."""

    def __init__(self, folder: Path, *, largest: int = 4 << 30) -> None:
        """Open the store, creating the folder. Raises Refusal(REGISTRY_UNAVAILABLE)."""
        self._folder = folder
        self._incoming = folder / "incoming"
        self._largest = largest
        with _refusing():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._incoming.mkdir(mode=0o700, exist_ok=True)

    def put(self, chunks: Iterable[bytes], size: int, digest: str) -> str:
        """Store a stream of `size` bytes under their `digest`, and return that.

        Nothing past `size` is written. Raises Refusal: FILE_TOO_LARGE for more bytes than `size`
        or than the store takes, DIGEST_MISMATCH for fewer or other bytes, DOCUMENT_MALFORMED for
        a digest that is none, REGISTRY_UNAVAILABLE when the disk fails or is full.
        """
        target = self._path(digest)
        if size > self._largest:
            raise Refusal(Reason.FILE_TOO_LARGE, f"{size} bytes stated")
        with _refusing():
            descriptor, name = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    _copy(chunks, file, size, digest)
                    file.flush()
                    os.fchmod(descriptor, 0o400)
                    os.fsync(descriptor)
                target.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(name, target)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name)
                raise
            for folder in (target.parent, self._folder):
                _sync_folder(folder)
        return digest

    def read(self, digest: str, size: int) -> bytes:
        """Return the bytes of `digest`, which are `size` long.

        Raises Refusal: VERSION_ALTERED when the file is missing or is not those bytes,
        DOCUMENT_MALFORMED for a digest that is none, REGISTRY_UNAVAILABLE when the disk fails.
        """
        with self._opened(digest) as file, _refusing():
            data = file.read(size + 1)
        if len(data) != size or digests.sha256(data) != digest:
            raise Refusal(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")
        return data

    def check(self, digest: str, size: int) -> None:
        """Hash the file of `digest` without holding it in memory. Raises like `read`."""
        hasher = hashlib.sha256()
        seen = 0
        with self._opened(digest) as file, _refusing():
            for block in _blocks(file):
                seen += len(block)
                if seen > size:
                    break
                hasher.update(block)
        if seen != size or hasher.digest() != digests.raw(digest):
            raise Refusal(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")

    def __contains__(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def _path(self, digest: str) -> Path:
        name = digests.raw(digest).hex()
        return self._folder / name[:2] / name[2:]

    @contextmanager
    def _opened(self, digest: str) -> Iterator[BinaryIO]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with _refusing():
            try:
                descriptor = os.open(self._path(digest), flags)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise
                raise Refusal(Reason.VERSION_ALTERED, f"{digest} is missing or a link") from error
        with os.fdopen(descriptor, "rb") as file:
            yield file


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refusal(Reason.REGISTRY_UNAVAILABLE, f"artifacts: {error}") from error


def _copy(chunks: Iterable[bytes], file: BinaryIO, size: int, digest: str) -> None:
    hasher = hashlib.sha256()
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            raise Refusal(Reason.FILE_TOO_LARGE, f"more than the {size} bytes stated")
        hasher.update(chunk)
        file.write(chunk)
    if seen != size or hasher.digest() != digests.raw(digest):
        raise Refusal(Reason.DIGEST_MISMATCH, f"{seen} of {size} bytes came, or other ones")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
