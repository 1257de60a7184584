"""Writes a folder completely or not at all, with the digests of its files."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20


class FolderWriter:
    """Writes files into a folder that is not in its place yet.

    `progress` is told of each file, and of how many of how many bytes of it are there.
    """

    def __init__(self, folder: Path, progress: Callable[[str, int, int], None]) -> None:
        self.folder = folder
        self._progress = progress

    def write(self, path: Path, data: bytes) -> None:
        """A new small file. Raises FileExistsError where it has been written already."""
        self.stream(path, iter([data]), len(data))

    def stream(self, path: Path, chunks: Iterator[bytes], size: int) -> None:
        """A new file of `size` bytes from chunks, as they come. Raises as `write` does."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                self._progress(str(path), file.tell(), size)

    def write_sums(self) -> int:
        """Write the digests of all files, as `sha256sum` does; return how many there are."""
        paths = sorted(p.relative_to(self.folder).as_posix() for p in _files(self.folder))
        lines = [f"{_digest(self.folder / path)}  {path}\n" for path in paths]
        self.write(Path(SUMS), "".join(lines).encode())
        return len(paths)


@contextmanager
def new_folder(place: Path, progress: Callable[[str, int, int], None]) -> Iterator[FolderWriter]:
    """A writer whose folder gets to `place` when the block ends well, and else vanishes.

    Raises FileExistsError where there is something already.
    """
    if place.exists():
        raise FileExistsError(17, "exists already", str(place))
    place.absolute().parent.mkdir(parents=True, exist_ok=True)
    beside = place.absolute().with_name(f".{place.name}.{secrets.token_hex(8)}.unfinished")
    beside.mkdir()
    try:
        yield FolderWriter(beside, progress)
        os.sync()
        # Fails where somebody else has put something there meanwhile that is not an empty folder.
        beside.rename(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
