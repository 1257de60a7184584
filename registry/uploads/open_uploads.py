"""Resumable uploads: files arrive in parallel, each continued where it stopped.

An upload belongs to its principal. Received parts of a file are in the spool. A complete file is
put into the artifact store, which hashes all of it. An upload that has been idle for `lifetime` is
removed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.models import Versions
from registry.state.records import VersionRecord
from registry.state.unit_of_work import Clock, RequestKey
from registry.storage.artifacts import SYNC_BYTES, ArtifactStore
from registry.uploads.spool import OpenedUpload, Part, Spool, is_name
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import FileEntry, Manifest

MOST_OPEN = 4
LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload: its files in the manifest's order, how many bytes of each have come, and when it
    ends if nothing more comes.
    """

    name: str
    principal: str
    model: str
    manifest: Manifest
    received: tuple[int, ...]
    expires: datetime


class OpenUploads:
    """Takes files in, and registers them. Processes may share a spool and a store."""

    def __init__(
        self,
        versions: Versions,
        artifacts: ArtifactStore,
        spool: Spool,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        most_open: int = MOST_OPEN,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        """`new_id` gives 32 hexadecimal digits that nobody can guess."""
        self._versions = versions
        self._artifacts = artifacts
        self._spool = spool
        self._clock = clock
        self._new_id = new_id
        self._most_open = most_open
        self._lifetime = lifetime

    def create(
        self,
        principal: str,
        model: str,
        manifest: bytes,
        once: RequestKey | None = None,
        signature: bytes | None = None,
    ) -> OpenUpload:
        """Open an upload, or return the one that the principal has open for the same files.

        Where `signature` is given, it must be the principal's over the manifest.

        Raises SealgateError: UPLOADS_TOO_MANY; REQUEST_ID_REUSED where the request `once` has
        opened another that is still there; and like `Versions.start_upload`.
        """
        self._versions.start_upload(principal, model, manifest, signature)
        asked = OpenedUpload(principal, model, manifest, once.request_id if once else "")
        with self._spool.locked():
            self._sweep()
            mine = {name: opened for name, opened in self._all() if opened.principal == principal}
            ids = {opened.request_id for opened in mine.values() if opened != asked}
            if once and once.request_id in ids:
                raise SealgateError(Reason.REQUEST_ID_REUSED, once.request_id)
            for name, opened in mine.items():
                if opened == asked:
                    return self._record(name, opened)
            if len(mine) >= self._most_open:
                raise SealgateError(Reason.UPLOADS_TOO_MANY, f"{principal} has {len(mine)}")
            name = self._new_id()
            self._spool.add(name, asked, self._clock())
        return self._record(name, asked)

    def get(self, principal: str, name: str) -> OpenUpload:
        """Return an upload. Raises SealgateError: UPLOAD_UNKNOWN, UPLOAD_FOREIGN."""
        if not is_name(name):
            raise SealgateError(Reason.UPLOAD_UNKNOWN, "not an id")
        opened = self._spool.read(name)
        if opened.principal != principal:
            raise SealgateError(Reason.UPLOAD_FOREIGN, f"{name} is {opened.principal}'s")
        if self._clock() >= self._spool.touched(name) + self._lifetime:
            raise SealgateError(Reason.UPLOAD_UNKNOWN, f"{name} has ended")
        return self._record(name, opened)

    def receive(self, upload: OpenUpload, path: str, offset: int, chunks: Iterable[bytes]) -> int:
        """Take a file's bytes from `offset` on; return how many there are then.

        1. The manifest names the file (FILE_SURPLUS).
        2. Each chunk goes on where the file stands (UPLOAD_OFFSET, with that `offset` as a fact),
           and stays within the size that the manifest states (FILE_TOO_LARGE).
        3. A file that is whole is put into the artifact store. Where its bytes are not those of
           the manifest, it is to be sent from its beginning (DIGEST_MISMATCH).

        If the chunks break off, the bytes received so far stay. Raises SealgateError(STORAGE_FULL)
        too.
        """
        # 1.
        entry = upload.manifest.entry(path)
        number = upload.manifest.files.index(entry)
        with self._spool.part(upload.name, number) as part:
            writer = _Writer(self._spool, upload.name, number, entry, part, offset)
            try:
                # 2.
                writer.write(b"")
                for chunk in chunks:
                    writer.write(chunk)
            finally:
                part.sync()
                self._spool.touch(upload.name, self._clock())
            # 3.
            if writer.position == entry.size:
                self._store(upload.name, number, entry, part)
        return writer.position

    def register(
        self,
        upload: OpenUpload,
        signature: bytes,
        evidence: Sequence[bytes],
        commitment: str,
        once: RequestKey | None = None,
    ) -> VersionRecord:
        """Register the files as the model's next version, and close the upload.

        Raises SealgateError: FILE_MISSING for a file that has not come whole, or that was collected
        since, and is to be sent again; and like `Versions.register`.
        """
        for number, entry in enumerate(upload.manifest.files):
            stored = self._spool.is_stored(upload.name, number)
            if stored and entry.digest not in self._artifacts:
                self._spool.set_stored(upload.name, number, stored=False)
                stored = False
            if not stored:
                raise SealgateError(Reason.FILE_MISSING, entry.path)
        manifest = upload.manifest.encode()
        record = self._versions.register(
            upload.principal, upload.model, manifest, signature, evidence, commitment, once
        )
        self.remove(upload)
        return record

    def done(self, principal: str, once: RequestKey | None) -> VersionRecord | None:
        """Return the version if this very request has registered it before, as `Versions.done`."""
        return self._versions.done(principal, once)

    def remove(self, upload: OpenUpload) -> None:
        """Close an upload; what has come of it is removed, but for files that are stored."""
        with self._spool.locked():
            self._spool.remove(upload.name)

    def sweep(self) -> int:
        """Remove the uploads that have ended; say how many."""
        with self._spool.locked():
            return self._sweep()

    def _sweep(self) -> int:
        return sweep(self._spool, self._clock(), self._lifetime)

    def _all(self) -> list[tuple[str, OpenedUpload]]:
        return [(name, self._spool.read(name)) for name in self._spool.names()]

    def _record(self, name: str, opened: OpenedUpload) -> OpenUpload:
        manifest = Manifest.decode(opened.manifest)
        received = [
            self._spool.received(name, number, entry.size)
            for number, entry in enumerate(manifest.files)
        ]
        expires = self._spool.touched(name) + self._lifetime
        return OpenUpload(name, opened.principal, opened.model, manifest, tuple(received), expires)

    def _store(self, name: str, number: int, entry: FileEntry, part: Part) -> None:
        with part.locked():
            if self._spool.is_stored(name, number):
                # Another writer of the file did it.
                return
            try:
                self._artifacts.put(part.blocks(), entry.size, entry.digest)
            except SealgateError as refusal:
                if refusal.reason is Reason.DIGEST_MISMATCH:
                    part.clear()
                raise
            self._spool.set_stored(name, number, stored=True)


def sweep(
    spool: Spool, now: datetime, lifetime: timedelta = LIFETIME, *, dry_run: bool = False
) -> int:
    """Remove the uploads that have ended, under the spool's lock; say how many they are."""
    ended = [name for name in spool.names() if now >= spool.touched(name) + lifetime]
    if not dry_run:
        spool.sweep()
        for name in ended:
            spool.remove(name)
    return len(ended)


class _Writer:
    """One of a file's writers: where it is, which must be where the file is."""

    def __init__(
        self, spool: Spool, name: str, number: int, entry: FileEntry, part: Part, position: int
    ) -> None:
        self.position = position
        self._spool = spool
        self._name = name
        self._number = number
        self._entry = entry
        self._part = part
        self._unsynced = 0

    def write(self, chunk: bytes) -> None:
        if self.position + len(chunk) > self._entry.size:
            raise SealgateError(Reason.FILE_TOO_LARGE, self._entry.path)
        with self._part.locked():
            stands = self._spool.received(self._name, self._number, self._entry.size)
            if self.position != stands:
                raise SealgateError(
                    Reason.UPLOAD_OFFSET,
                    f"{self._entry.path}: {self.position} instead of {stands}",
                    facts={"offset": str(stands)},
                )
            self._part.append(chunk)
        self.position += len(chunk)
        self._unsynced += len(chunk)
        if self._unsynced >= SYNC_BYTES:
            self._part.sync()
            self._unsynced = 0
