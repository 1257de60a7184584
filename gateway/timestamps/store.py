"""The folder of time stamps: for each log a folder, and in it two files for each stamp.

    house.localhost%2Fregistry/000000000042-20261129T100000Z.note    the checkpoint, a signed note
    house.localhost%2Fregistry/000000000042-20261129T100000Z.tsr     the authority's answer (DER)

Nothing is ever replaced: an earlier stamp says more than a later one.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from gateway.config.optional_sections import TimestampSettings
from sealgate.files import read_regular_file, replace_file
from sealgate.trust.timestamps import LARGEST_STAMP, Timestamp

_NAME = re.compile(r"([0-9]{12})-([0-9]{8}T[0-9]{6}Z)\.tsr")
_TIME = "%Y%m%dT%H%M%SZ"


class StampedLog(NamedTuple):
    """How many entries of a log the newest stamp is of, and its time."""

    size: int
    time: datetime


class TimestampStore:
    """The stamps that are kept. `folder` is made with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Looked up once, for there may be many files.
        self._newest: dict[str, StampedLog | None] = {}

    @classmethod
    def of(cls, settings: TimestampSettings, seen: Path) -> "TimestampStore":
        """The folder that is configured, by default beside the file `seen`."""
        return cls(settings.folder or seen.with_name("timestamps"))

    def copy_to(self, folder: Path) -> None:
        """Copy the files that another folder lacks. Raises OSError."""
        for path in sorted(self.folder.glob("*/*[0-9]Z.*")):
            place = folder / path.relative_to(self.folder)
            if path.suffix in (".note", ".tsr") and not place.exists():
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(place, read_regular_file(path, LARGEST_STAMP + 1))

    def keep(self, origin: str, stamp: Timestamp, stamped: StampedLog) -> None:
        """Keep a verified stamp. Raises OSError."""
        home = self._home(origin)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        time = stamped.time.astimezone(UTC).strftime(_TIME)
        path = home / f"{stamped.size:012}-{time}.tsr"
        # The stamp last: without its note it is not there.
        replace_file(path.with_suffix(".note"), stamp.note.encode())
        replace_file(path, stamp.stamp)
        self._newest[origin] = stamped

    def newest(self, origin: str) -> StampedLog | None:
        """The newest stamp of a log, by its file's name."""
        if origin not in self._newest:
            found = filter(None, map(_parsed, self._names(origin)))
            self._newest[origin] = max(found, key=lambda each: each.time, default=None)
        return self._newest[origin]

    def stamps(self, origin: str) -> Iterator[Timestamp]:
        """Yield the stamps of a log in order. Raises OSError."""
        for name in sorted(self._names(origin)):
            path = self._home(origin) / name
            note = read_regular_file(path.with_suffix(".note"), LARGEST_STAMP)
            yield Timestamp(note.decode(), read_regular_file(path, LARGEST_STAMP + 1))

    def _names(self, origin: str) -> list[str]:
        home = self._home(origin)
        if not home.is_dir():
            return []
        return [path.name for path in home.iterdir() if _NAME.fullmatch(path.name)]

    def _home(self, origin: str) -> Path:
        return self.folder / quote(origin, safe="")


def _parsed(name: str) -> StampedLog | None:
    """What a file's name says; None for a day that there is not."""
    size, _, time = name.removesuffix(".tsr").partition("-")
    try:
        return StampedLog(int(size), datetime.strptime(time, _TIME).replace(tzinfo=UTC))
    except ValueError:
        return None
