"""Memory of the newest state of each log, and of erasures, kept apart from the databases.

A database that was put back whole to an older state contradicts itself in nothing. It does
contradict the newest checkpoint that the gateway signed or read, which lies in a file beside the
engine's memory (`[trust] seen`). The file has four slots of 8 KiB:

    sealgate/seen-log/v1 <length of the note> <SHA-256 of the note, hex>\n<the signed note>

- `keep` writes each new checkpoint to slots 0 and 1 in turn, before an answer that it covers
  leaves. It does not wait for the disk: the write outlives the process, not a power cut.
- `sync` writes the newest one to slots 2 and 3 in turn and waits for the disk.

A write that is cut short damages one slot, and the checkpoint before it is in another. A file by
an earlier release is one note alone.

`seen-erased.json`, beside it, has digests of destroyed keys, which reveal neither key nor name. A
database that is put back from before an erasure knows nothing of it; by this file its keys are
destroyed again.
"""

import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sealgate.files import open_regular_file, read_regular_file, replace_file
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.trust import fields
from sealgate.trust.transparency import Checkpoint, open_checkpoint

TYPE = "sealgate/seen-log/v1"
SLOT_BYTES = 8192
_SLOTS = 4
_LARGEST_FILE = 1 << 16
_HEADER = re.compile(rb"sealgate/seen-log/v1 ([0-9]{1,5}) ([0-9a-f]{64})\n")
ERASED_KEYS = "sealgate/erased-keys/v1"
_LARGEST_ERASED = 1 << 28


class LogMemory:
    """The newest checkpoint that was seen of the log of `vkey`, in the file `path`."""

    def __init__(self, path: Path, vkey: str) -> None:
        self.path = path
        self._vkey = vkey
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._note = ""
        self._synced = ""
        self._turns = 0
        self._syncs = 0

    @classmethod
    def beside(cls, seen: Path, log: str, vkey: str) -> Self:
        """The one beside the engine's memory, such as `seen-registry.note` beside `seen.json`."""
        return cls(seen.with_name(f"{seen.stem}-{log}.note"), vkey)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint in the file, None for a log that was not seen yet.

        Raises: ConfigError where the file is not what we wrote.
        """
        origin = self._vkey.partition("+")[0]
        # A note of another origin: the configuration names another log now.
        notes = [note for note in self._read() if note.partition("\n")[0] == origin]
        found, others = [], []
        for note in notes:
            try:
                found.append(open_checkpoint(note, self._vkey))
            except SealgateError as refusal:
                others.append((_size(note), refusal))
        newest = max(found, key=lambda checkpoint: checkpoint.size, default=None)
        for size, why in others:
            # Slots that were not written since a hand-over are by the key before.
            if newest is None or size > newest.size:
                raise ConfigError(
                    f"{self.path} is not a checkpoint by this log's key ({why.reason.name}); "
                    "a new key needs a new origin and a new database, or `sealgate key rotate`; "
                    "only who knows why this file differs should remove it"
                ) from why
        return newest

    def keep(self, note: str) -> None:
        """Remember a newer checkpoint, which was verified, in a way that outlives this process.

        Raises OSError.
        """
        with self._lock:
            if note == self._note:
                return
            if self._descriptor is None:
                self._begin(note)
            else:
                _write(self._descriptor, self._turns % 2, note)
                self._turns += 1
            self._note = note

    def sync(self) -> None:
        """Have the newest checkpoint on the disk on return. Raises OSError.

        Nobody who keeps another one meanwhile waits. A file that somebody removed is written anew;
        one that another process put there, which has taken over the log, is left alone.
        """
        descriptor, note = self._descriptor, self._note
        if descriptor is None:
            return
        if not self.path.exists():
            with self._lock:
                self._begin(self._note)
            os.close(descriptor)
        elif note != self._synced:
            _write(descriptor, 2 + self._syncs % 2, note)
            os.fdatasync(descriptor)
            self._syncs += 1
            self._synced = note

    def close(self) -> None:
        """Sync for the last time, and end."""
        self.sync()
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _begin(self, note: str) -> None:
        """Put a new file in the old one's place: whoever else has that open writes to nobody."""
        slots = [_slot("") if number != 3 else _slot(note) for number in range(_SLOTS)]
        replace_file(self.path, b"".join(slots))
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self._synced, self._syncs = note, 0

    def _read(self) -> list[str]:
        try:
            with open_regular_file(self.path) as file:
                data = file.read(_LARGEST_FILE)
            if data and b"\0" not in data:
                # By an earlier release.
                return [data.decode("utf-8")]
            found = [note.decode("utf-8") for note in _whole(data)]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}") from error
        if not found:
            raise ConfigError(f"{self.path} is damaged: no slot of it is whole; put its copy back")
        return found


def _slot(note: str) -> bytes:
    """A slot's bytes; without a note they are zero. Raises OSError for a note that is too long."""
    data = note.encode("utf-8")
    if not data:
        return b"\0" * SLOT_BYTES
    header = f"{TYPE} {len(data)} {hashlib.sha256(data).hexdigest()}\n".encode()
    if len(header) + len(data) > SLOT_BYTES:
        raise OSError(f"a checkpoint of {len(data)} bytes is too long to be remembered")
    return (header + data).ljust(SLOT_BYTES, b"\0")


def _write(descriptor: int, slot: int, note: str) -> None:
    data = _slot(note)
    if os.pwrite(descriptor, data, slot * SLOT_BYTES) != len(data):
        raise OSError("the checkpoint was not written as a whole")


def _whole(data: bytes) -> Iterator[bytes]:
    """The notes of those slots that no write damaged."""
    for start in range(0, len(data), SLOT_BYTES):
        slot = data[start : start + SLOT_BYTES]
        header = _HEADER.match(slot)
        if header is None:
            continue
        note = slot[header.end() : header.end() + int(header[1])]
        if len(note) == int(header[1]) and hashlib.sha256(note).hexdigest() == header[2].decode():
            yield note


def _size(note: str) -> int:
    """The size that a note states, whoever signed it; the largest for what is no checkpoint."""
    try:
        return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n").size
    except SealgateError:
        return sys.maxsize


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
            document = json.loads(read_regular_file(self.path, _LARGEST_ERASED))
            return set(fields.texts(fields.record(document, ("keys",), ERASED_KEYS)["keys"]))
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
        document = {"type": ERASED_KEYS, "keys": sorted(self._kept)}
        replace_file(self.path, json.dumps(document).encode())
