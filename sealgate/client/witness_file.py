"""A witness's memory on disk: the newest policy version and, of each log, the last signed note.

The file is canonical JSON and only the client's own: who can write it can make it forget.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealgate.trust import canonical, fields
from sealgate.trust.transparency import Checkpoint

TYPE = "sealgate/witness/v1"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a witness has seen: `notes` are signed checkpoints by the origin of their log.

    Raises Refusal(DOCUMENT_MALFORMED).
    """

    policy_version: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields.integer(self.policy_version)
        for origin, note in self.notes.items():
            if self.checkpoint(note).origin != origin:
                raise fields.malformed("a note stands under another log's name")

    @staticmethod
    def checkpoint(note: str) -> Checkpoint:
        """The checkpoint of a note whose signature was verified when it was seen."""
        return Checkpoint.parse(fields.text(note).rpartition("\n\n")[0] + "\n")

    def encode(self) -> bytes:
        document = {"type": TYPE, "policy_version": self.policy_version, "logs": dict(self.notes)}
        return canonical.encode(document)

    @classmethod
    def decode(cls, data: bytes) -> "Memory":
        """Read what `encode` writes. Raises Refusal(DOCUMENT_MALFORMED)."""
        outer = fields.record(canonical.decode(data), ("policy_version", "logs"), TYPE)
        return cls(outer["policy_version"], fields.mapping(outer["logs"]))

    def joined(self, other: "Memory") -> "Memory":
        """The newer of both for each log; of two as new, this one's."""
        notes = dict(other.notes)
        for origin, note in self.notes.items():
            kept = notes.get(origin)
            if kept is None or self.checkpoint(kept).size <= self.checkpoint(note).size:
                notes[origin] = note
        return Memory(max(self.policy_version, other.policy_version), notes)


class WitnessFile:
    """The file at `path`, which need not exist yet. Clients that share it never take it back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Memory:
        """Raises Refusal(DOCUMENT_MALFORMED) for a file that is not one of ours."""
        try:
            return Memory.decode(self._path.read_bytes())
        except FileNotFoundError:
            return Memory()

    def save(self, memory: Memory) -> None:
        """Replaces the file in one step, joined with what others have written meanwhile."""
        joined = memory.joined(self.load())
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        partial.write_bytes(joined.encode())
        partial.replace(self._path)
