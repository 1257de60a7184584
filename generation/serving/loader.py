"""Loads versions of language models from private copies of verified files.

The copies lie where nobody else writes, so the bytes that were hashed are loaded. One file is in
memory at a time, and none once its weights are: a model of gigabytes is never there twice.
"""

import logging
import shutil
import tempfile
from pathlib import Path

from generation.config import GenerationSettings
from generation.serving.generator_version import GeneratorVersion
from inference.backends.remote.generator import read_terms
from inference.engine.admission import FileSource, VerifiedPointer, read_file
from inference.engine.table import ServableVersion
from inference.llm.request import check_paths
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import write_private_file
from sealgate.trust.statements import FileEntry, Manifest


def copy_verified(manifest: Manifest, source: FileSource, copies: Path) -> Path:
    """A new folder below `copies` with the files of a manifest, each of the stated bytes.

    Raises SealgateError: FILE_MISSING, FILE_SURPLUS, VERSION_ALTERED, STORAGE_FULL, and as the
    source.
    """
    check_paths(entry.path for entry in manifest.files)
    try:
        copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of mode 0700.
        folder = Path(tempfile.mkdtemp(dir=copies))
    except OSError as error:
        raise SealgateError(Reason.STORAGE_FULL, f"{copies}: {error.strerror}") from error
    try:
        for entry in manifest.files:
            _copy(entry, source, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _copy(entry: FileEntry, source: FileSource, folder: Path) -> None:
    data = read_file(entry, source)
    try:
        write_private_file(folder / entry.path, data)
    except OSError as error:
        raise SealgateError(Reason.STORAGE_FULL, str(error.strerror)) from error


_log = logging.getLogger(__name__)


class GeneratorLoader:
    """A `VersionLoader` for language models."""

    def __init__(self, settings: GenerationSettings) -> None:
        """Removes what a process that was killed left in the folder of copies."""
        self._settings = settings
        _clear(settings.copies)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises SealgateError as `read_terms`, `copy_verified` and
        `GeneratorVersion.build` do.
        """
        if loaded is not None:
            return loaded
        read_terms(cleared, source)
        folder = copy_verified(cleared.manifest, source, self._settings.copies)
        try:
            version = GeneratorVersion.build(cleared.pointer.digest, folder, self._settings)
        finally:
            # Mapped files stay mapped, and nobody can write to them any more.
            shutil.rmtree(folder, ignore_errors=True)
        _log.info("%s generates: %d pages", version.digest, version.batches.room.free)
        return version


def _clear(copies: Path) -> None:
    if copies.is_dir():
        for left in copies.iterdir():
            shutil.rmtree(left, ignore_errors=True)
