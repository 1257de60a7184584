"""Cosignatures of witnesses on this gateway's logs, kept apart from the databases.

One file beside the engine's memory (`[trust] seen`), `seen-witnessed.json`: for each log the newest
note that each witness has cosigned, and what a witness knows of it that contradicts us. A log with
such a contradiction signs nothing, after a restart neither, until somebody has looked and removed
the file.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealgate.files import open_regular_file, replace_file
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.transparency import Checkpoint, note
from sealgate.trust.transparency.checkpoint import Cosignature, WitnessKey, cosignatures

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class CosignedLog:
    """A checkpoint of a log as one witness has cosigned it: the note of the log with its line."""

    note: str
    checkpoint: Checkpoint
    cosignature: Cosignature


@dataclass(slots=True)
class CosignatureStore:
    """The file. Safe for many threads."""

    path: Path
    witnesses: Sequence[WitnessKey] = ()
    _notes: dict[str, dict[str, CosignedLog]] = field(default_factory=dict)
    _conflicts: dict[str, str] = field(default_factory=dict)
    _advice: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, seen: Path, witnesses: Sequence[WitnessKey]) -> "CosignatureStore":
        """Read the file beside the engine's memory. Raises: ConfigError where it is not ours."""
        path = seen.with_name(f"{seen.stem}-witnessed.json")
        witnessed = cls(path, witnesses)
        try:
            witnessed._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SealgateError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        return witnessed

    def newest(self, origin: str, witness: WitnessKey) -> CosignedLog | None:
        """The newest checkpoint of a log that a witness has cosigned."""
        with self._lock:
            return self._notes.get(origin, {}).get(witness.vkey)

    def last_time(self) -> datetime | None:
        """When a witness last cosigned any log, by its own clock; None where none ever has."""
        with self._lock:
            times = [each.cosignature.time for of in self._notes.values() for each in of.values()]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def conflict(self, origin: str) -> str:
        """The evidence that contradicts the log; empty where there is none."""
        with self._lock:
            return self._conflicts.get(origin, "")

    def keep(self, origin: str, witness: WitnessKey, signed: str, line: str) -> None:
        """Keep a cosigned checkpoint. `signed` is the log's own note, its signature verified.

        Raises SealgateError where the line is not the witness's own over it; OSError.
        """
        cosigned = _cosigned(signed + line, witness)
        with self._lock:
            self._notes.setdefault(origin, {})[witness.vkey] = cosigned
            self._write()

    def keep_conflict(self, origin: str, detail: str) -> None:
        """Remember for good that a witness contradicts the log. Raises OSError."""
        with self._lock:
            self._conflicts[origin] = detail
            self._write()

    def advise(self, origin: str, witness: str, detail: str) -> None:
        """Remember what an advisory witness finds now, which stops nothing; empty for nothing."""
        with self._lock:
            self._advice[origin, witness] = detail

    def disagreement(self, origin: str) -> str:
        """The evidence that contradicts the log, or findings of advisory witnesses; empty where
        there is none.
        """
        with self._lock:
            advice = [text for (of, _), text in self._advice.items() if of == origin and text]
            return self._conflicts.get(origin) or "; ".join(advice)

    def best(self, origin: str) -> str:
        """The log's newest cosigned note, with the line of every witness that cosigned the same
        tree; empty where there is none.
        """
        with self._lock:
            found = list(self._notes.get(origin, {}).values())
        if not found:
            return ""
        newest = max(found, key=lambda cosigned: cosigned.checkpoint.size)
        own = newest.note.removesuffix(newest.cosignature.line + "\n")
        return own + _lines(found, newest.checkpoint)

    def with_lines(self, origin: str, signed: str) -> str:
        """A note of the log, with the line of every witness that has cosigned the same tree."""
        with self._lock:
            found = list(self._notes.get(origin, {}).values())
        if not found:
            return signed
        return signed + _lines(found, Checkpoint.parse(note.split(signed)[0]))

    def _write(self) -> None:
        notes = {
            origin: {vkey: cosigned.note for vkey, cosigned in found.items()}
            for origin, found in self._notes.items()
        }
        document = {"notes": notes, "conflicts": self._conflicts}
        replace_file(self.path, json.dumps(document, indent=1).encode())

    def _read(self) -> None:
        with open_regular_file(self.path) as file:
            document: Mapping[str, Any] = json.loads(file.read(_LARGEST_FILE))
        known = {witness.vkey: witness for witness in self.witnesses}
        self._conflicts = {str(k): str(v) for k, v in document["conflicts"].items()}
        for origin, found in document["notes"].items():
            # Of witnesses that are no longer configured nothing is kept.
            for vkey in known.keys() & found.keys():
                cosigned = _cosigned(found[vkey], known[vkey])
                self._notes.setdefault(origin, {})[vkey] = cosigned


def _cosigned(signed: str, witness: WitnessKey) -> CosignedLog:
    checkpoint = Checkpoint.parse(note.split(signed)[0])
    (cosignature,) = cosignatures(signed, (witness,))
    return CosignedLog(signed, checkpoint, cosignature)


def _lines(found: Sequence[CosignedLog], checkpoint: Checkpoint) -> str:
    return "".join(c.cosignature.line + "\n" for c in found if c.checkpoint == checkpoint)
