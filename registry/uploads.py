"""An upload: the files that a manifest names, sent as streams, each checked as it comes in."""

from collections.abc import Iterable

from registry import formats
from registry.artifacts import ArtifactStore
from sealgate.reasons import Reason, Refusal
from sealgate.trust.statements import Manifest


class Upload:
    """Takes a version's files, in any order, into the artifact store."""

    def __init__(self, manifest: Manifest, artifacts: ArtifactStore, *, largest: int) -> None:
        """Raises Refusal: FORMAT_REFUSED for a name that is not accepted, FILE_TOO_LARGE when
        the files together exceed `largest` bytes.
        """
        for entry in manifest.files:
            formats.check_name(entry.path)
        total = sum(entry.size for entry in manifest.files)
        if total > largest:
            raise Refusal(Reason.FILE_TOO_LARGE, f"{total} bytes in all")
        self._manifest = manifest
        self._artifacts = artifacts
        self._received: set[str] = set()

    def receive(self, path: str, chunks: Iterable[bytes]) -> None:
        """Store one file. No more of the stream is read than the manifest allows.

        Raises Refusal: FILE_SURPLUS for a path that the manifest does not name, FILE_DUPLICATE
        for one that came before, and like `ArtifactStore.put`.
        """
        entry = self._manifest.entry(path)
        if path in self._received:
            raise Refusal(Reason.FILE_DUPLICATE, path)
        self._received.add(path)
        self._artifacts.put(chunks, entry.size, entry.digest)

    def finish(self) -> None:
        """Check that every file has come. Raises Refusal(FILE_MISSING)."""
        for entry in self._manifest.files:
            if entry.path not in self._received:
                raise Refusal(Reason.FILE_MISSING, entry.path)
