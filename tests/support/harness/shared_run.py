"""Folders that all processes of a test run share: what takes seconds to make is made once a run, by
whoever needs it first, and not once by each of pytest-xdist's workers.
"""

import atexit
import fcntl
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# The run's folder. Workers get it from the process that starts them.
_VARIABLE = "SEALGATE_TEST_RUN"


def begin() -> None:
    """Make the run's folder, unless this is part of a run already; its maker removes it."""
    if _VARIABLE in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="sealgate-run-")
    os.environ[_VARIABLE] = folder
    atexit.register(_remove, folder, os.getpid())


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The run's folder of this name, for reading alone. The first to ask makes it: `make` fills an
    empty folder. Others wait meanwhile. If `make` fails, the next one tries.
    """
    begin()
    run = Path(os.environ[_VARIABLE])
    place, begun = run / name, run / f"{name}.begun"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(place)
    return place


def value_once(name: str, make: Callable[[], T]) -> T:
    """A copy of what `make` returns, which is called once a run."""

    def write(folder: Path) -> None:
        (folder / "value").write_bytes(pickle.dumps(make()))

    # Written by this run alone, in a folder that nobody else may enter.
    made: T = pickle.loads((made_once(name, write) / "value").read_bytes())  # noqa: S301
    return made


def _remove(folder: str, maker: int) -> None:
    """Not in a process that was forked from the maker."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)
