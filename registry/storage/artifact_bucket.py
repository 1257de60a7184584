"""An artifact store in an S3-compatible bucket, through obstore.

A stream is checked in a nameless file of this machine before any of it is sent, and the service
shows an object only when it is whole. An object that is there is written again rather than left:
its name is its digest, so nothing but damage and age can change by that, and a file that is put
anew must be new to whoever collects old ones.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from registry.storage.artifacts import (
    LARGEST_FILE,
    Bucket,
    StoredFile,
    altered,
    check_free_space,
    copy_checked,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical as digests

if TYPE_CHECKING:
    from obstore.store import S3Config

# A file over one part is sent as several and read as several: no request may take long.
_PART = 8 << 20
_AT_ONCE = 4
_CHUNK = 1 << 20
_SECONDS = 60
# For the questions that are asked while other writers of the registry wait.
_QUICK_SECONDS = 5


class BucketStore:
    """Objects under a bucket's prefix, none over `largest` bytes."""

    def __init__(self, bucket: Bucket, *, largest: int = LARGEST_FILE) -> None:
        """Open the store, and look whether the bucket answers us."""
        self._largest = largest
        with _refusing():
            self._store = _connect(bucket, _SECONDS, retries=3)
            self._quick = _connect(bucket, _QUICK_SECONDS, retries=1)
        self._probe()

    def put(self, chunks: Iterable[bytes], size: int, digest: str) -> str:
        """See `ArtifactStore.put`."""
        name = _name(digest)
        if size > self._largest:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"{size} bytes stated")
        with _refusing(), tempfile.TemporaryFile() as file:
            copy_checked(_with_room(chunks, file), file, size, digest)
            self._send(name, file)
        return digest

    def read(self, digest: str, size: int) -> bytes:
        """See `ArtifactStore.read`."""
        data = b"".join(self._parts(digest, size))
        if len(data) != size or digests.sha256(data) != digest:
            raise altered(digest)
        return data

    @contextmanager
    def open(self, digest: str, size: int) -> Iterator[BinaryIO]:
        """See `ArtifactStore.open`: a nameless copy of the object."""
        with tempfile.TemporaryFile() as file:
            with _refusing():
                for part in _with_room(self._parts(digest, size), file):
                    file.write(part)
                file.flush()
            yield file

    def check(self, digest: str, size: int) -> None:
        """See `ArtifactStore.check`."""
        hasher = hashlib.sha256()
        for part in self._parts(digest, size):
            hasher.update(part)
        if hasher.digest() != digests.raw(digest):
            raise altered(digest)

    def __contains__(self, digest: str) -> bool:
        return self._head(_name(digest)) is not None

    def files(self) -> Iterator[StoredFile]:
        """See `ArtifactStore.files`."""
        with _refusing():
            for page in obstore.list(self._store):
                for found in page:
                    digest = f"sha256:{found['path'].replace('/', '', 1)}"
                    if digests.is_digest(digest) and _name(digest) == found["path"]:
                        yield StoredFile(digest, found["size"], found["last_modified"])

    def remove(self, digest: str, before: datetime) -> bool:
        """See `ArtifactStore.remove`."""
        name = _name(digest)
        put = self._head(name)
        if put is None or put >= before:
            return False
        with _refusing():
            obstore.delete(self._quick, name)
        return True

    def sweep(self, before: datetime, *, dry_run: bool) -> int:
        """See `ArtifactStore.sweep`: the parts of an unfinished upload are the bucket's own rule's
        to remove (AbortIncompleteMultipartUpload), so there are none here.
        """
        return 0

    def _send(self, name: str, file: BinaryIO) -> None:
        file.seek(0)
        try:
            obstore.put(self._store, name, file, chunk_size=_PART, max_concurrency=_AT_ONCE)
        except FileNotFoundError as error:
            # An object that is not there yet is no error, so it is the bucket.
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "artifacts: no such bucket") from error

    def _parts(self, digest: str, size: int) -> Iterator[bytes]:
        name = _name(digest)
        with _refusing():
            try:
                if obstore.head(self._store, name)["size"] != size:
                    raise altered(digest)
                for start in range(0, size, _PART):
                    end = min(start + _PART, size)
                    yield from self._range(name, start, end, digest)
            except FileNotFoundError as error:
                self._probe()
                raise SealgateError(Reason.VERSION_ALTERED, f"{digest} is missing") from error

    def _range(self, name: str, start: int, end: int, digest: str) -> Iterator[bytes]:
        """The bytes of an object from `start` to `end`. A service may send more than it was asked
        for, so they are counted as they come. Raises: VERSION_ALTERED.
        """
        left = end - start
        found = obstore.get(self._store, name, options={"range": (start, end)})
        for chunk in found.stream(min_chunk_size=_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise altered(digest)
            yield bytes(chunk)

    def _head(self, name: str) -> datetime | None:
        """When an object was put; None where there is none."""
        with _refusing():
            try:
                return obstore.head(self._quick, name)["last_modified"]
            except FileNotFoundError:
                self._probe()
                return None

    def _probe(self) -> None:
        """A bucket that is gone looks like a missing object, except to this."""
        with _refusing():
            next(iter(obstore.list(self._quick, chunk_size=1)), None)


def _connect(bucket: Bucket, seconds: int, *, retries: int) -> S3Store:
    # The service checks what arrives, too.
    config: S3Config = {"checksum_algorithm": "SHA256"}
    if bucket.endpoint:
        config["endpoint"] = bucket.endpoint
    if bucket.region:
        config["region"] = bucket.region
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        config=config,
        client_options={
            "allow_http": bucket.endpoint.startswith("http://"),
            "connect_timeout": f"{_QUICK_SECONDS}s",
            "timeout": f"{seconds}s",
        },
        retry_config={"max_retries": retries},
    )


def _with_room(chunks: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    """Yield the chunks while the disk of `file` has room for them: it may be that of the logs."""
    for chunk in chunks:
        check_free_space(file, len(chunk))
        yield chunk


def _name(digest: str) -> str:
    name = digests.raw(digest).hex()
    return f"{name[:2]}/{name[2:]}"


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn the library's errors, whose first line says what was wrong, into one refusal."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        cause = str(error).strip().partition("\n")[0]
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, f"artifacts: {cause}") from error
