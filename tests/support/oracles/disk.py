"""The content of a folder into which a gateway writes meanwhile."""

from collections.abc import Iterator
from pathlib import Path


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file below the folder, and what it holds."""
    for path in folder.rglob("*"):
        try:
            data = path.read_bytes() if path.is_file() else None
        except FileNotFoundError:
            # It was just being written, and has its own name by now.
            continue
        if data is not None:
            yield path, data
