"""Private copies of verified files: what was hashed lies where nobody else writes, and is loaded.

One file is in memory at a time, and none once its weights are: a model of gigabytes is never there
twice.
"""

import shutil
import tempfile
from pathlib import Path

from inference.engine.admission import FileSource, read_file
from inference.llm.request import check_paths
from sealgate.reasons import Reason, Refusal
from sealgate.trust.keys import write_private_file
from sealgate.trust.statements import FileEntry, Manifest


def copy_verified(manifest: Manifest, source: FileSource, copies: Path) -> Path:
    """A new folder below `copies` with the files of a manifest, each of the stated bytes.

    Raises Refusal: FILE_MISSING, FILE_SURPLUS, VERSION_ALTERED, STORAGE_FULL, and as the source.
    """
    check_paths(entry.path for entry in manifest.files)
    try:
        copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of mode 0700.
        folder = Path(tempfile.mkdtemp(dir=copies))
    except OSError as error:
        raise Refusal(Reason.STORAGE_FULL, f"{copies}: {error.strerror}") from error
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
        raise Refusal(Reason.STORAGE_FULL, str(error.strerror)) from error
