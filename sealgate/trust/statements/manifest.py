"""The manifest of a model version: its files, their sizes and digests.

The digest of the canonical manifest is the version's identity. Paths are flat, plain names, so
that no file can land outside the folder that it is written to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import check_digest, sha256

TYPE = "sealgate/manifest/v1"
ANSWERS, SCREENS = "model.int8.onnx", "response.onnx"
"""The graph that answers rows, and the one that screens them."""
_PATH = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}")
_MOST_FILES = 256


def check_path(path: str) -> str:
    """Return `path` if it is a flat, plain file name. Raises SealgateError(PATH_UNSAFE)."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise SealgateError(Reason.PATH_UNSAFE, "a path is not a flat, plain name")
    return path


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its path, its size in bytes and the digest of its bytes.

    Raises SealgateError: PATH_UNSAFE or DOCUMENT_MALFORMED.
    """

    path: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        check_path(self.path)
        fields.integer(self.size)
        check_digest(self.digest)

    def check(self, data: bytes) -> None:
        """Check that `data` is this file. Raises SealgateError: FILE_TOO_LARGE or
        DIGEST_MISMATCH.
        """
        if len(data) > self.size:
            raise SealgateError(Reason.FILE_TOO_LARGE, self.path)
        if len(data) != self.size or sha256(data) != self.digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, self.path)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a version, sorted by path, 1 to 256 of them.

    Raises SealgateError: FILE_DUPLICATE for two paths that differ in nothing but case (a file
    system may hold them to be one), DOCUMENT_MALFORMED for another order or number.
    """

    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.files) <= _MOST_FILES:
            raise fields.malformed(f"a manifest has 1 to {_MOST_FILES} files")
        paths = [entry.path for entry in self.files]
        if len({path.casefold() for path in paths}) != len(paths):
            raise SealgateError(Reason.FILE_DUPLICATE, "a manifest names a file twice")
        if paths != sorted(paths):
            raise fields.malformed("a manifest is not sorted by path")

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Self:
        """Make the manifest of these files, a mapping from path to bytes."""
        entries = (FileEntry(path, len(data), sha256(data)) for path, data in files.items())
        return cls(tuple(sorted(entries, key=lambda entry: entry.path)))

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        files = [{"path": f.path, "size": f.size, "digest": f.digest} for f in self.files]
        return canonical.encode({"type": TYPE, "files": files})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError like the constructor."""
        outer = fields.record(canonical.decode(data), ("files",), TYPE)
        records = [
            fields.record(item, ("path", "size", "digest")) for item in fields.items(outer["files"])
        ]
        return cls(tuple(FileEntry(**entry) for entry in records))

    @property
    def digest(self) -> str:
        """The identity of the version."""
        return sha256(self.encode())

    @property
    def screened(self) -> bool:
        """Whether a model that answers rows has a graph that screens them; a language model's
        screening is in its terms.
        """
        paths = {entry.path for entry in self.files}
        return SCREENS in paths or ANSWERS not in paths

    def entry(self, path: str) -> FileEntry:
        """Return the file of that path. Raises SealgateError(FILE_SURPLUS) if there is none."""
        for entry in self.files:
            if entry.path == path:
                return entry
        raise SealgateError(Reason.FILE_SURPLUS, "a file that the manifest does not name")

    def check(self, files: Mapping[str, bytes]) -> None:
        """Check that `files` are the manifest's, no more and no fewer.

        Raises SealgateError: FILE_SURPLUS, FILE_MISSING, FILE_TOO_LARGE or DIGEST_MISMATCH.
        """
        for path in files:
            self.entry(path)
        for entry in self.files:
            if entry.path not in files:
                raise SealgateError(Reason.FILE_MISSING, entry.path)
            entry.check(files[entry.path])
