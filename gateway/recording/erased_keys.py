"""Which subjects' keys erasures have destroyed, kept apart from the databases.

One file beside the engine's memory (`[trust] seen`), `seen-erased.json`: digests of keys, which
reveal neither key nor name. A database that is put back from before an erasure knows nothing of it;
by this file its keys are destroyed again.
"""

import json
from pathlib import Path
from typing import Self

from sealgate.files import read_regular_file, replace_file
from sealgate.settings import ConfigError
from sealgate.trust import fields

TYPE = "sealgate/erased-keys/v1"
_LARGEST_FILE = 1 << 28


class ErasedKeys:
    """The file at `path`, which only grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: set[str] | None = None

    @classmethod
    def beside(cls, seen: Path) -> Self:
        """The one beside the engine's memory."""
        return cls(seen.with_name(f"{seen.stem}-erased.json"))

    def load(self) -> set[str]:
        """Raises: ConfigError where the file is not ours."""
        try:
            document = json.loads(read_regular_file(self.path, _LARGEST_FILE))
            return set(fields.texts(fields.record(document, ("keys",), TYPE)["keys"]))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}") from error

    def keep(self, destroyed: set[str]) -> None:
        """Remember these too. Raises: OSError, ConfigError."""
        if self._kept is None:
            self._kept = self.load()
        if destroyed <= self._kept:
            return
        self._kept |= destroyed
        document = {"type": TYPE, "keys": sorted(self._kept)}
        replace_file(self.path, json.dumps(document).encode())
