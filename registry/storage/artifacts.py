"""Artifact stores, which hold files by the digest of their bytes: the interface, and a folder.

No name is ever made from one that a caller gave: a digest is checked for its form first, and only
its hexadecimal digits reach the file system. A file appears under its name only when it is whole
and on the disk. Every read is hashed again, so the bytes that were checked are the bytes that are
used.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from sealgate.files import NotRegularFileError, open_regular_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical as digests

LARGEST_FILE = 4 << 30
SYNC_BYTES = 4 << 20
"""A file goes to the disk in parts of so many bytes: while a disk writes hundreds of megabytes, no
answer can be recorded.
"""
KEPT_FREE = 256 << 20
"""Bytes of their disk that uploads leave free, for what is recorded there. Otherwise a publisher
could end all answers and revocations by uploads, for nothing happens that cannot be recorded.
"""
_BLOCK = 1 << 20
_GROUP = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a store holds, and when its bytes were last put there."""

    digest: str
    size: int
    put: datetime


class ArtifactStore(Protocol):
    """The interface of an artifact store. Threads and processes may share one.

    Every method raises SealgateError: DOCUMENT_MALFORMED for a digest that is none, STORAGE_FULL
    when there is no room, and REGISTRY_UNAVAILABLE when the store fails otherwise.
    """

    def put(self, chunks: Iterable[bytes], size: int, digest: str) -> str:
        """Store a stream of `size` bytes under their `digest`, and return that.

        Where the file is there already its bytes are put again: that heals it, and makes it new
        to `remove`. Nothing past `size` is read. Raises SealgateError: FILE_TOO_LARGE for more
        bytes than `size` or than the store takes, DIGEST_MISMATCH for fewer or other bytes.
        """

    def read(self, digest: str, size: int) -> bytes:
        """Return the bytes of `digest`, which are `size` long.

        Raises SealgateError(VERSION_ALTERED) when the file is missing or is not those bytes.
        """

    def open(self, digest: str, size: int) -> AbstractContextManager[BinaryIO]:
        """An open file of this machine with what is stored as `digest`, not hashed; it may have
        another size.

        Raises SealgateError(VERSION_ALTERED) when the file is missing.
        """

    def check(self, digest: str, size: int) -> None:
        """Hash the file of `digest` without holding it in memory. Raises like `read`."""

    def __contains__(self, digest: str) -> bool: ...

    def files(self) -> Iterator[StoredFile]:
        """Return all files, without those that are not named as this store names them."""

    def remove(self, digest: str, before: datetime) -> bool:
        """Remove a file that was last put before that moment; say whether it was."""

    def sweep(self, before: datetime, *, dry_run: bool) -> int:
        """Remove what uploads left that ended before that moment in the middle; say how many."""


def copy_checked(chunks: Iterable[bytes], file: BinaryIO, size: int, digest: str) -> None:
    """Write a stream to `file`, up to `size` bytes. Raises SealgateError as `ArtifactStore.put`
    does.
    """
    hasher = hashlib.sha256()
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"more than the {size} bytes stated")
        hasher.update(chunk)
        file.write(chunk)
    if seen != size or hasher.digest() != digests.raw(digest):
        raise SealgateError(
            Reason.DIGEST_MISMATCH, f"received {seen} of {size} bytes, or other bytes"
        )


def check_free_space(file: BinaryIO, more: int = 0) -> None:
    """Check that the disk of an open file has `KEPT_FREE` bytes beyond `more` that are to come.

    Raises SealgateError(STORAGE_FULL), OSError.
    """
    found = os.fstatvfs(file.fileno())
    # Some file systems do not say.
    if found.f_blocks and found.f_bavail * found.f_frsize < KEPT_FREE + more:
        raise SealgateError(Reason.STORAGE_FULL, f"less than {KEPT_FREE} bytes would be left free")


def altered(digest: str) -> SealgateError:
    """The refusal of bytes that are not what their name says."""
    return SealgateError(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")


def checked_blocks(file: BinaryIO, size: int, digest: str) -> Iterator[bytes]:
    """Yield the bytes of an open file in blocks of a mebibyte, of which one is in memory at a time.

    They are hashed before the first leaves, and again as they leave: the last block of a file that
    is changed meanwhile stays here. Raises SealgateError: VERSION_ALTERED, REGISTRY_UNAVAILABLE.
    """
    with _refusing():
        for _ in _hashed(file, size, digest):
            pass
        file.seek(0)
        held = b""
        for block in _hashed(file, size, digest):
            if held:
                yield held
            held = block
        yield held


def _hashed(file: BinaryIO, size: int, digest: str) -> Iterator[bytes]:
    """Yield all blocks of a file. Raises SealgateError(VERSION_ALTERED), at the end."""
    hasher, seen = hashlib.sha256(), 0
    for block in _blocks(file):
        seen += len(block)
        if seen > size:
            break
        hasher.update(block)
        yield block
    if seen != size or hasher.digest() != digests.raw(digest):
        raise altered(digest)


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLACE = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)/?"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the prefix in it under which a registry's files lie."""

    name: str
    prefix: str
    endpoint: str = ""
    region: str = ""

    @classmethod
    def parse(cls, url: str, endpoint: str, region: str) -> "Bucket":
        """Raises ValueError, whose text repeats nothing that may be a secret."""
        found = _PLACE.fullmatch(url)
        if found is None:
            raise ValueError(
                "must be a folder or s3://bucket/prefix; credentials stand in the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never in the URL"
            )
        if endpoint and not _is_endpoint(endpoint):
            raise ValueError("needs an endpoint like https://host:port, http on this machine only")
        return cls(found[1], found[2].strip("/"), endpoint.rstrip("/"), region)


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  (reading it checks it)
    except ValueError:
        return False
    more = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
    if not parts.hostname or more:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class FolderStore:
    """Files under `folder`, none over `largest` bytes. Threads and processes may share it."""

    def __init__(
        self, folder: Path, *, largest: int = LARGEST_FILE, read_only: bool = False
    ) -> None:
        """Open the store, creating the folder unless it is there to be read alone.

        Raises SealgateError(REGISTRY_UNAVAILABLE).
        """
        self._folder = folder
        self._incoming = folder / "incoming"
        self._largest = largest
        if read_only:
            return
        with _refusing():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._incoming.mkdir(mode=0o700, exist_ok=True)

    def put(self, chunks: Iterable[bytes], size: int, digest: str) -> str:
        """See `ArtifactStore.put`."""
        target = self._path(digest)
        if size > self._largest:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"{size} bytes stated")
        with _refusing():
            descriptor, name = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    check_free_space(file, size)
                    copy_checked(_synced(chunks, file), file, size, digest)
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
        """See `ArtifactStore.read`. A link in a file's place counts as missing."""
        with self.open(digest, size) as file, _refusing():
            data = file.read(size + 1)
        if len(data) != size or digests.sha256(data) != digest:
            raise altered(digest)
        return data

    @contextmanager
    def open(self, digest: str, size: int) -> Iterator[BinaryIO]:
        """See `ArtifactStore.open`. Anything but a regular file counts as missing."""
        with _refusing():
            try:
                file = open_regular_file(self._path(digest), follow_links=False)
            except (FileNotFoundError, NotRegularFileError) as error:
                detail = f"{digest} is missing or no regular file"
                raise SealgateError(Reason.VERSION_ALTERED, detail) from error
        with file:
            yield file

    def check(self, digest: str, size: int) -> None:
        """See `ArtifactStore.check`."""
        with self.open(digest, size) as file, _refusing():
            for _ in _hashed(file, size, digest):
                pass

    def __contains__(self, digest: str) -> bool:
        return self._path(digest).is_file()

    def files(self) -> Iterator[StoredFile]:
        """See `ArtifactStore.files`."""
        with _refusing():
            for group in _entries(self._folder, _GROUP):
                for entry in _entries(group.path, _REST):
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        digest = f"sha256:{group.name}{entry.name}"
                        yield StoredFile(digest, found.st_size, _moment(found.st_mtime))

    def remove(self, digest: str, before: datetime) -> bool:
        """See `ArtifactStore.remove`."""
        return _unlink_older(self._path(digest), before, dry_run=False)

    def sweep(self, before: datetime, *, dry_run: bool) -> int:
        """See `ArtifactStore.sweep`: what a killed upload left is a file among the incoming."""
        with _refusing():
            names = [entry.path for entry in os.scandir(self._incoming)]
        return sum(_unlink_older(Path(name), before, dry_run=dry_run) for name in names)

    def _path(self, digest: str) -> Path:
        name = digests.raw(digest).hex()
        return self._folder / name[:2] / name[2:]


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = Reason.STORAGE_FULL if full else Reason.REGISTRY_UNAVAILABLE
        raise SealgateError(reason, f"artifacts: {error}") from error


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _entries(folder: Path | str, form: re.Pattern[str]) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if form.fullmatch(entry.name))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _unlink_older(path: Path, before: datetime, *, dry_run: bool) -> bool:
    """Whether the file was older, and so is gone, or would be."""
    with _refusing():
        try:
            if _moment(path.lstat().st_mtime) >= before:
                return False
            if not dry_run:
                path.unlink()
        except FileNotFoundError:
            return False
    return True


def _synced(chunks: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    """The chunks; what was written of them before is on the disk but for `SYNC_BYTES`."""
    unsynced = 0
    for chunk in chunks:
        yield chunk
        unsynced += len(chunk)
        if unsynced >= SYNC_BYTES:
            file.flush()
            os.fdatasync(file.fileno())
            check_free_space(file)
            unsynced = 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
