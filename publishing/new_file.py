"""Files that a command writes anew, for their owner alone."""

from pathlib import Path
from typing import Any

import click

from sealgate.trust.keys import write_private_file


class _NewFile(click.Path):
    """A place where nothing is yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.exists():
            self.fail(f"{path} exists, and is not written over", param, ctx)
        if not path.absolute().parent.is_dir():
            self.fail(f"there is no folder {path.parent}", param, ctx)
        return path


NEW_FILE = _NewFile(dir_okay=False, path_type=Path)


def write_new(path: Path, data: bytes) -> None:
    """Raises Refusal(KEY_FILE_EXISTS) where something has come there since, and OSError."""
    write_private_file(path, data)
