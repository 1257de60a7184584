"""What this gateway saw last of each log, kept apart from the databases.

A database that was put back whole to an older state contradicts itself in nothing. It does
contradict the last checkpoint that the gateway saw, which lies beside the engine's memory
(`[trust] seen`) as the signed note that it is.
"""

from pathlib import Path
from typing import Self

from sealgate.files import replace_file
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.trust.checkpoint import Checkpoint, open_checkpoint

_LARGEST_FILE = 1 << 16


class SeenLog:
    """The newest checkpoint that was seen of the log of `vkey`."""

    def __init__(self, path: Path, vkey: str) -> None:
        self._path = path
        self._vkey = vkey
        self._note = self._read()

    @classmethod
    def beside(cls, seen: Path, log: str, vkey: str) -> Self:
        """The one beside the engine's memory, such as `seen-registry.note` beside `seen.json`.

        Raises: ConfigError where the file is not what we wrote.
        """
        return cls(seen.with_name(f"{seen.stem}-{log}.note"), vkey)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint, None for a log that was not seen yet. Raises: ConfigError."""
        origin = self._vkey.partition("+")[0]
        if self._note.partition("\n")[0] != origin:
            # The configuration names another log now.
            return None
        try:
            return open_checkpoint(self._note, self._vkey)
        except Refusal as refusal:
            raise ConfigError(
                f"{self._path} is not a checkpoint by this log's key ({refusal.reason.name}); a "
                "new key needs a new origin and a new database; only who knows why this file "
                "differs should remove it"
            ) from refusal

    def keep(self, note: str) -> None:
        """Remember a newer checkpoint, which the log's own reader has verified. Raises OSError."""
        if note != self._note:
            replace_file(self._path, note.encode("utf-8"))
            self._note = note

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                return file.read(_LARGEST_FILE).decode("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path} cannot be read: {error}") from error


def newest(*checkpoints: Checkpoint | None) -> Checkpoint | None:
    """The one of the largest size, None where there is none."""
    known = [checkpoint for checkpoint in checkpoints if checkpoint is not None]
    return max(known, key=lambda checkpoint: checkpoint.size, default=None)
