"""The local folder in which files of open uploads are collected.

Each upload has a folder named by its random id, with what it is for in `upload.json` (whose time
is that of the last activity), and for each file of its manifest, by number, the bytes that have
come so far (`7.part`) or the mark that the artifact store has the whole (`7.stored`). Everything
that is known of an upload lies there, so a gateway that was killed goes on where it was.

Bytes are only ever appended, and only by who knows how many there are, under the file's lock. Of
two writers of one file, in this process or another, the one that is behind is thus refused.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from registry.storage.artifacts import check_free_space
from sealgate.files import check_regular, read_regular_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

_TYPE = "sealgate/upload/v1"
_FIELDS = ("principal", "model", "manifest", "request_id")
_DOCUMENT = "upload.json"
_NAME = re.compile(r"[0-9a-f]{32}")
_BLOCK = 1 << 20


def is_name(text: str) -> bool:
    """Whether that is an upload's id: 32 hexadecimal digits."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class OpenedUpload:
    """An open upload: its principal and model, the canonical manifest of its files, and the id of
    the request that opened it, if it has one.
    """

    principal: str
    model: str
    manifest: bytes
    request_id: str = field(default="", compare=False)


class Spool:
    """Uploads under `folder`. Threads and processes of one machine may share it."""

    def __init__(self, folder: Path) -> None:
        """Open the spool, creating the folder. Raises SealgateError(REGISTRY_UNAVAILABLE)."""
        self._folder = folder
        with refusing():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from adding and removing uploads."""
        with refusing():
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def add(self, name: str, opened: OpenedUpload, now: datetime) -> None:
        """Add an upload; it is there wholly or not at all."""
        document = {
            "type": _TYPE,
            "principal": opened.principal,
            "model": opened.model,
            "manifest": opened.manifest.decode(),
            "request_id": opened.request_id,
        }
        made = self._folder / f".{name}"
        with refusing():
            made.mkdir(mode=0o700)
            with (made / _DOCUMENT).open("xb") as file:
                file.write(canonical.encode(document))
                file.flush()
                os.fsync(file.fileno())
            made.rename(self._folder / name)
            self.touch(name, now)

    def names(self) -> list[str]:
        """The ids of all uploads."""
        with refusing():
            return [entry.name for entry in os.scandir(self._folder) if is_name(entry.name)]

    def read(self, name: str) -> OpenedUpload:
        """Return the description of an upload. Raises SealgateError(UPLOAD_UNKNOWN)."""
        with refusing(name):
            data = read_regular_file(self._folder / name / _DOCUMENT)
        # An upload that an earlier release opened has no id.
        found = {"request_id": "", **fields.mapping(canonical.decode(data))}
        document = fields.record(found, _FIELDS, _TYPE)
        return OpenedUpload(
            document["principal"],
            document["model"],
            document["manifest"].encode(),
            document["request_id"],
        )

    def touch(self, name: str, now: datetime) -> None:
        """Note an activity. Raises SealgateError(UPLOAD_UNKNOWN)."""
        with refusing(name):
            os.utime(self._folder / name / _DOCUMENT, times=(now.timestamp(), now.timestamp()))

    def touched(self, name: str) -> datetime:
        """When there was the last activity. Raises SealgateError(UPLOAD_UNKNOWN)."""
        with refusing(name):
            return datetime.fromtimestamp((self._folder / name / _DOCUMENT).stat().st_mtime, UTC)

    def received(self, name: str, number: int, size: int) -> int:
        """Return how many of a file's `size` bytes have arrived."""
        with refusing(name):
            if not self.is_stored(name, number):
                with suppress(FileNotFoundError):
                    return self._part(name, number).stat().st_size
            # The mark is there before the part goes, so it may be there by now.
            return size if self.is_stored(name, number) else 0

    @contextmanager
    def part(self, name: str, number: int) -> Iterator["Part"]:
        """Open the growing file. Raises SealgateError(UPLOAD_UNKNOWN)."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with refusing(name):
            path = self._part(name, number)
            file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        with file:
            with refusing():
                check_regular(file.fileno(), path)
            yield Part(file)

    def is_stored(self, name: str, number: int) -> bool:
        """Whether the artifact store has the whole file."""
        return self._mark(name, number).exists()

    def set_stored(self, name: str, number: int, *, stored: bool) -> None:
        """Note that the artifact store has the whole file, or that it has lost it."""
        with refusing(name):
            if stored:
                self._mark(name, number).touch(mode=0o600)
                self._part(name, number).unlink(missing_ok=True)
            else:
                self._mark(name, number).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove an upload with all that has come of it."""
        with refusing(), suppress(FileNotFoundError):
            # From here on nobody finds it.
            gone = self._folder / f".{name}.gone"
            (self._folder / name).rename(gone)
            shutil.rmtree(gone)

    def sweep(self) -> None:
        """Remove what a process left that was killed while it added or removed an upload. Call it
        under the lock.
        """
        with refusing():
            for entry in os.scandir(self._folder):
                if entry.name[0] == ".":
                    shutil.rmtree(entry.path, ignore_errors=True)

    def _part(self, name: str, number: int) -> Path:
        return self._folder / name / f"{number}.part"

    def _mark(self, name: str, number: int) -> Path:
        return self._folder / name / f"{number}.stored"


class Part:
    """A growing file, opened by one of its writers."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Keep other writers of the file out; gives its size."""
        with refusing():
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield os.fstat(self._file.fileno()).st_size
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, chunk: bytes) -> None:
        """Append bytes, under the lock. Raises SealgateError(STORAGE_FULL); some may be there
        then.
        """
        check_free_space(self._file, len(chunk))
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file.fileno(), view) :]

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes from the first."""
        at = 0
        while block := os.pread(self._file.fileno(), _BLOCK, at):
            yield block
            at += len(block)

    def clear(self) -> None:
        """Remove all bytes, under the lock."""
        os.ftruncate(self._file.fileno(), 0)

    def sync(self) -> None:
        """Have what was appended on the disk, should the machine lose its power."""
        with refusing():
            os.fsync(self._file.fileno())


@contextmanager
def refusing(name: str = "") -> Iterator[None]:
    """Turn the system's errors into refusals; a missing file means that upload `name` is gone."""
    try:
        yield
    except OSError as error:
        if name and isinstance(error, FileNotFoundError):
            raise SealgateError(Reason.UPLOAD_UNKNOWN, name) from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = Reason.STORAGE_FULL if full else Reason.REGISTRY_UNAVAILABLE
        raise SealgateError(reason, f"uploads: {error}") from error
