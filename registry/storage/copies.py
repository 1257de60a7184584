"""Consistent copies of SQLite databases and artifacts, made while others go on using them.

1. A write transaction on the first database keeps out whatever is told there before it is done
   elsewhere: erasures, prunings and anchors.
2. A read transaction is begun on every database, which fixes what is copied.
3. The write transaction ends; writers go on, and the copies show the moment of step 2.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from sealgate.reasons import Reason, SealgateError

_PAGES = 4096
_BLOCK = 1 << 20
_BUSY_SECONDS = 30.0

# Called with what is copied, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def copy_databases(
    sources: Mapping[str, Path], targets: Mapping[str, Path], progress: Progress
) -> None:
    """Copy each database to the new file of its name in `targets`, as they were at one moment.

    The first of `sources` is the one that is locked in step 1. Raises
    SealgateError(REGISTRY_UNAVAILABLE).
    """
    try:
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(closing(_connect(path))) for name, path in sources.items()
            }
            # 1.
            first = stack.enter_context(closing(_connect(next(iter(sources.values())))))
            first.execute("BEGIN IMMEDIATE")
            # 2.
            for connection in opened.values():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            # 3.
            first.execute("ROLLBACK")
            for name, connection in opened.items():
                _copy(name, connection, targets[name], progress)
    except sqlite3.Error as error:
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, f"a database: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE, f"there is no file {path}")
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)


def _copy(name: str, source: sqlite3.Connection, target: Path, progress: Progress) -> None:
    # It may hold people's keys, so it is private before anything is in it.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def told(_status: int, left: int, total: int) -> None:
        progress(name, total - left, total)

    with closing(sqlite3.connect(target, isolation_level=None)) as made:
        source.backup(made, pages=_PAGES, progress=told)
        # One file without a write-ahead log; whoever opens it next chooses again.
        made.execute("PRAGMA journal_mode=DELETE")


def artifact_files(folder: Path) -> Iterator[Path]:
    """The files of an artifact store in a folder, by their place in it."""
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder)


def copy_artifacts(source: Path, target: Path, progress: Progress) -> int:
    """Copy what `target` lacks, and return how many files there are.

    Raises SealgateError(VERSION_ALTERED) for a file whose bytes are not those that it is named for.
    """
    names = list(artifact_files(source))
    for done, name in enumerate(names, 1):
        place = target / name
        if not place.exists():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.part")
            if copy_file(source / name, partial) != f"{name.parent.name}{name.name}":
                partial.unlink()
                raise SealgateError(Reason.VERSION_ALTERED, f"the artifact {name}")
            partial.chmod(0o400)
            partial.replace(place)
        progress("artifacts", done, len(names))
    return len(names)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a private one, wait for the disk, and return its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with source.open("rb") as read, os.fdopen(descriptor, "wb") as written:
        while block := read.read(_BLOCK):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(descriptor)
    return digest.hexdigest()


def set_aside(path: Path, suffix: str) -> list[Path]:
    """Rename a database with its write-ahead log, so that nothing is lost; return the new names."""
    moved = []
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        old = path.with_name(name)
        if old.exists():
            new = old.with_name(f"{name}.{suffix}")
            shutil.move(old, new)
            moved.append(new)
    return moved
