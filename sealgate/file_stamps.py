"""Whether files are still those that were read: by device, inode, size and time of change.

That time is the system's own (`st_ctime`): the time of writing can be set, and is, by whatever
copies a file with its times. And it moves where a file that could not be read is made readable.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

Stamps: TypeAlias = tuple[tuple[int, ...] | None, ...]
"""Of each file: device, inode, size, time of change in ns; None where there is none."""


def stamps(paths: Iterable[Path | None]) -> Stamps:
    """Of the files that are named; None names none."""
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
