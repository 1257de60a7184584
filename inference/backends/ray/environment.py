"""Environment of a private Ray instance: its folder and token, and the board of pointers.

Anyone who can connect to Ray can run code as its user. So Ray listens on loopback only, and a
connection needs a token that is new at each start and readable only by that user.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sealgate.files import replace_file

_TOKEN_BYTES = 32
# Ray's settings of whoever started us are not for our instance.
_FOREIGN = "RAY_"


@dataclass(frozen=True, slots=True)
class RayEnvironment:
    """A private folder (mode 0700) for one start of Ray, removed with it."""

    folder: Path

    @classmethod
    def make(cls) -> Self:
        """Makes the folder and puts Ray's settings into the environment. Ray must not be imported
        yet.
        """
        # Ray's sockets are below it, and their paths may have 107 bytes.
        found = cls(Path(tempfile.mkdtemp(prefix="sealgate-")))
        found.board.mkdir(mode=0o700)
        token = found.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(_TOKEN_BYTES))
        for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
            del os.environ[name]
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(token),
            RAY_USAGE_STATS_ENABLED="0",
            # Where clusters are not to be, Ray leaves 127.0.0.1 as it is; else it looks for the
            # address by which others reach this machine, and listens there.
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
            # How often the queue is looked at that replicas are added for.
            RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S="0.5",
        )
        return found

    @property
    def board(self) -> Path:
        """The folder where replicas find the pointers to follow."""
        return self.folder / "board"

    def own_file(self, name: str) -> Path:
        """A file of this process alone."""
        return self.folder / f"{name}-{os.getpid()}"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class PointerBoard:
    """A folder of numbered pointers: one process adds and removes, others read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, shown: bytes) -> None:
        """Raises: OSError."""
        replace_file(self._path(number), shown)

    def remove(self, number: int) -> None:
        """Remove `number`: it was replaced, or was not believed."""
        self._path(number).unlink(missing_ok=True)

    def after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """What was added after `number`, in order, each with its own number."""
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
