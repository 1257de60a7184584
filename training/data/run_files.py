"""Files of a run: written whole or not at all, by one run at a time.

A full disk is reported as such.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from sealgate.reasons import Reason, SealgateError

_LOCK, _UNFINISHED = ".sealgate-run", ".new"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch and safetensors tell of a failed write in their own words.
_SAYINGS = ("No space left", "File too large", "failed writing", "unexpected pos")


@contextmanager
def storing() -> Iterator[None]:
    """Raises SealgateError(STORAGE_FULL) where there is no room for what is written inside."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SealgateError(Reason.STORAGE_FULL, str(error.filename or "")) from error
        raise
    except (RuntimeError, SafetensorError) as error:
        if any(saying in str(error) for saying in _SAYINGS):
            raise SealgateError(Reason.STORAGE_FULL) from error
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there with all of its bytes or not at all. Raises STORAGE_FULL."""
    aside = path.with_name(path.name + _UNFINISHED)
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, durably; what a kill cut short before stays a line of its own. Raises
    STORAGE_FULL.
    """
    with storing(), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def made_whole(folder: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when the block has ended well;
    else nothing of it stays. Raises STORAGE_FULL.
    """
    with storing():
        folder.parent.mkdir(parents=True, exist_ok=True)
        around = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        aside = around / folder.name
        with storing():
            aside.mkdir(mode)
        yield aside
        with storing():
            aside.rename(folder)
    finally:
        shutil.rmtree(around, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and keep other runs of this machine out of it.

    Raises: STORAGE_FULL; RUN_FOREIGN where another run is at work in it.
    """
    place = folder / _LOCK
    with storing():
        folder.mkdir(parents=True, exist_ok=True)
        lock = place.open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SealgateError(Reason.RUN_FOREIGN, f"another run is at work in {folder}") from None
        if not os.fstat(lock.fileno()).st_nlink:
            # Its holder has just ended.
            raise SealgateError(Reason.RUN_FOREIGN, f"another run was at work in {folder}")
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def is_bare(folder: Path, first: str = "") -> bool:
    """Whether a folder that is held has nothing in it, but for what a run leaves that was ended
    before it had written its file `first`.
    """
    return {entry.name for entry in folder.iterdir()} <= {_LOCK, first + _UNFINISHED}


Weights = npt.NDArray[np.float32]
_NAME = "weights"


def read_weights(path: Path) -> Weights:
    return np.asarray(load_file(path)[_NAME], np.float32)


def write_weights(path: Path, weights: Weights) -> None:
    """Raises STORAGE_FULL."""
    write_whole(path, save({_NAME: weights}))
