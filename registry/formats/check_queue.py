"""A short queue of file checks, run by one sandboxed worker at a time.

No byte of a file is parsed in this process. A worker has little memory and time, and lets others
go first, so a publisher's hostile file takes nothing from those who are answered. Where the system
cannot shut a worker in, it still is a process of its own with those limits.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from registry.formats import format_check
from registry.sandbox import process
from registry.sandbox.confinement import SandboxLimits
from registry.storage.artifacts import ArtifactStore
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.statements import Manifest

MEMORY = 176 << 20
"""A worker's bound on memory in bytes, its libraries included."""
MOST_AT_ONCE = 8
"""Versions that are checked or wait for it, of all publishers."""
_MOST_OF_ONE = 2
# Time for any file that is not large, and for hashing one that is.
_SECONDS, _BYTES_PER_SECOND = 60, 32 << 20
_PATIENCE_SECONDS = 60.0
_RETRY_SECONDS = 5.0
# Beside the version's files.
_FILES = 32
_NICENESS = 5


class FileCheck(Protocol):
    """Checks the files of one version, which an artifact store holds."""

    def __call__(self, manifest: Manifest, artifacts: ArtifactStore) -> None:
        """Raises SealgateError: VERSION_ALTERED, FORMAT_REFUSED, EXTERNAL_DATA, COPY_REFUSED; and
        WORKER_LIMIT, WORKER_FAILED or WORKER_FORBIDDEN where the check itself came to no end.
        """


def check_in_worker(manifest: Manifest, artifacts: ArtifactStore) -> None:
    """Check files in a worker of their own; see `FileCheck`."""
    total = sum(entry.size for entry in manifest.files)
    limits = SandboxLimits(
        memory=MEMORY,
        scratch=1 << 20,
        seconds=_SECONDS + total // _BYTES_PER_SECOND,
        files=_FILES + len(manifest.files),
        niceness=_NICENESS,
        threads=1,
    )
    with (
        open_files(manifest, artifacts) as (request, descriptors),
        process.start(
            format_check.TASK, request, limits, unsafe=True, descriptors=descriptors
        ) as worker,
    ):
        worker.finish()


@contextmanager
def open_files(
    manifest: Manifest, artifacts: ArtifactStore
) -> Iterator[tuple[bytes, Sequence[int]]]:
    """The request to check a version's files (see `format_check.run`), and their descriptors."""
    with ExitStack() as stack:
        descriptors = [
            stack.enter_context(artifacts.open(entry.digest, entry.size)).fileno()
            for entry in manifest.files
        ]
        listed = [
            [entry.path, entry.size, entry.digest, descriptor]
            for entry, descriptor in zip(manifest.files, descriptors, strict=True)
        ]
        yield canonical.encode(listed), descriptors


class FileChecks:
    """Checks one version after another."""

    def __init__(
        self, check: FileCheck = check_in_worker, *, patience: float = _PATIENCE_SECONDS
    ) -> None:
        self._check = check
        self._patience = patience
        self._turn = threading.Lock()
        self._mutex = threading.Lock()
        self._of_one: Counter[str] = Counter()

    @property
    def places(self) -> int:
        """The number of versions that are being checked or waiting."""
        with self._mutex:
            return self._of_one.total()

    def run(self, principal: str, manifest: Manifest, artifacts: ArtifactStore) -> None:
        """Check a version's files, after those that came before.

        Raises SealgateError: as `FileCheck`, and QUEUE_FULL where too many of anybody or of this
        principal wait, or where it takes too long until it is this one's turn.
        """
        with self._place(principal):
            if not self._turn.acquire(timeout=self._patience):
                raise _busy("other versions are being checked")
            try:
                self._check(manifest, artifacts)
            finally:
                self._turn.release()

    @contextmanager
    def _place(self, principal: str) -> Iterator[None]:
        with self._mutex:
            if self._of_one.total() >= MOST_AT_ONCE:
                raise _busy("too many versions wait to be checked")
            if self._of_one[principal] >= _MOST_OF_ONE:
                raise _busy(f"too many versions of {principal} wait to be checked")
            self._of_one[principal] += 1
        try:
            yield
        finally:
            with self._mutex:
                self._of_one -= Counter([principal])


def _busy(detail: str) -> SealgateError:
    return SealgateError(Reason.QUEUE_FULL, detail, retry=_RETRY_SECONDS)
