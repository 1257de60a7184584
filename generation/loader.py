"""The loader of a generator's process: verified bytes to a version that generates."""

import logging
import shutil
from pathlib import Path

from generation.copies import copy_verified
from generation.settings import GenerationSettings
from generation.version import GeneratorVersion
from inference.backends.remote.generator import read_terms
from inference.engine.admission import Cleared, FileSource
from inference.engine.table import Ready

_log = logging.getLogger(__name__)


class GeneratorLoader:
    """A `Loader`."""

    def __init__(self, settings: GenerationSettings) -> None:
        """Removes what a process that was killed left in the folder of copies."""
        self._settings = settings
        _clear(settings.copies)

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises Refusal as `read_terms`, `copy_verified` and
        `GeneratorVersion.build` do.
        """
        if loaded is not None:
            return loaded
        read_terms(cleared, source)
        folder = copy_verified(cleared.manifest, source, self._settings.copies)
        try:
            version = GeneratorVersion.build(cleared.pointer.digest, folder, self._settings)
        finally:
            # What is mapped stays mapped, and nobody can write to it any more.
            shutil.rmtree(folder, ignore_errors=True)
        _log.info("%s generates: %d pages", version.digest, version.batches.room.free)
        return version


def _clear(copies: Path) -> None:
    if copies.is_dir():
        for left in copies.iterdir():
            shutil.rmtree(left, ignore_errors=True)
