"""The interface of artifact stores, which hold files by the digest of their bytes.

No name is ever made from one that a caller gave: a digest is checked for its form first. A file
appears under its name only when it is whole, and what is read is hashed again, so the bytes that
were checked are the bytes that are used.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical as digests

LARGEST_FILE = 4 << 30
SYNC_BYTES = 4 << 20
"""A file goes to the disk in parts of so many bytes: while a disk writes hundreds of megabytes, no
answer can be recorded.
"""


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


def altered(digest: str) -> SealgateError:
    """The refusal of bytes that are not what their name says."""
    return SealgateError(Reason.VERSION_ALTERED, f"{digest} is not what is stored under it")


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
