"""What replicas follow: a folder with a file for each pointer that was shown, by its number.

Numbers ascend, so a replica that knows how far it has read finds what it lacks, and one that starts
finds everything. What is here was not checked by whoever wrote it: readers do, as with any load.
"""

from collections.abc import Iterator
from pathlib import Path

from sealgate.files import replace_file


class Board:
    """One process puts and removes, others read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, shown: bytes) -> None:
        """Raises: OSError."""
        replace_file(self._path(number), shown)

    def remove(self, number: int) -> None:
        """What was shown under `number` is replaced, or was not believed."""
        self._path(number).unlink(missing_ok=True)

    def after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """What was shown later than `number`, in order, each with its own number."""
        while True:
            found = sorted(int(path.name) for path in self._folder.glob("[0-9]*"))
            later = [each for each in found if each > number]
            if not later:
                return
            try:
                shown = self._path(later[0]).read_bytes()
            except FileNotFoundError:
                # Removed meanwhile; what replaces it is listed.
                continue
            number = later[0]
            yield number, shown

    def _path(self, number: int) -> Path:
        return self._folder / str(number)
