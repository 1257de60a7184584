"""Checks that each log only grows, by comparing every checkpoint with the last one seen.

Rules of trust: a checkpoint comes here only once the log's own key is known to have signed it.
The larger of two that are consistent becomes the last one seen; whatever is consistent with that
one is consistent with all before it. Nothing is forgotten while the file is kept.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealgate.reasons import SealgateError
from sealgate.remote.errors import LogFork
from sealgate.trust import canonical, fields
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle

TYPE = "sealgate/witness/v1"


@dataclass(frozen=True, slots=True)
class ClientMemory:
    """The client's memory: `notes` are signed checkpoints by the origin of their log.

    Raises SealgateError(DOCUMENT_MALFORMED).
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
    def decode(cls, data: bytes) -> "ClientMemory":
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        outer = fields.record(canonical.decode(data), ("policy_version", "logs"), TYPE)
        return cls(outer["policy_version"], fields.mapping(outer["logs"]))

    def joined(self, other: "ClientMemory") -> "ClientMemory":
        """The newer of both for each log; of two as new, this one's."""
        notes = dict(other.notes)
        for origin, note in self.notes.items():
            kept = notes.get(origin)
            if kept is None or self.checkpoint(kept).size <= self.checkpoint(note).size:
                notes[origin] = note
        return ClientMemory(max(self.policy_version, other.policy_version), notes)


class ClientMemoryFile:
    """The file at `path`, which need not exist yet. Clients that share it never take it back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> ClientMemory:
        """Raises SealgateError(DOCUMENT_MALFORMED) for a file that is not one of ours."""
        try:
            return ClientMemory.decode(self._path.read_bytes())
        except FileNotFoundError:
            return ClientMemory()

    def save(self, memory: ClientMemory) -> None:
        """Replaces the file in one step, joined with what others have written meanwhile."""
        joined = memory.joined(self.load())
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        partial.write_bytes(joined.encode())
        partial.replace(self._path)


_SAVE_SECONDS = 1.0
# Entries that calls have claimed; older ones lie before whatever is still in flight.
REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class SeenCheckpoint:
    """A checkpoint, its signed note, and the inclusion proof that it came with, if any."""

    checkpoint: Checkpoint
    note: str
    proof: TlogProof | None = None

    def root_before(self, size: int) -> bytes | None:
        """The root of the log's first `size` entries, where the inclusion proof shows it."""
        if self.proof is None or self.proof.index != size:
            return None
        return merkle.root_before(size, self.checkpoint.size, self.proof.hashes)


@dataclass(frozen=True, slots=True)
class Gap:
    """Two states of a log, the smaller first, whose consistency is still to be proved."""

    old: Checkpoint
    new: Checkpoint
    notes: tuple[str, str]

    def close(self, hashes: Sequence[bytes]) -> None:
        """Checks the proof of RFC 9162, 2.1.4. Raises: LOG_INCONSISTENT, as LogFork."""
        old, new = self.old, self.new
        try:
            merkle.verify_consistency(old.size, old.root, new.size, new.root, hashes)
        except SealgateError as refusal:
            raise self.fork() from refusal

    def fork(self) -> LogFork:
        """The refusal of a log that cannot prove that it only grew."""
        return LogFork(f"{self.new.origin} at {self.old.size} and {self.new.size}", self.notes)


class ConsistencyChecker:
    """The last checkpoint seen of each log, for any number of threads."""

    def __init__(self, file: ClientMemoryFile | None = None) -> None:
        self._file = file
        self._memory = file.load() if file is not None else ClientMemory()
        self._heads = {
            origin: SeenCheckpoint(ClientMemory.checkpoint(note), note)
            for origin, note in self._memory.notes.items()
        }
        self._policy_version = self._memory.policy_version
        self.taken: dict[str, set[int]] = {}
        self._mutex = threading.Lock()
        self._saved_at: float | None = None

    @property
    def policy_version(self) -> int:
        """The newest version of the policy that was seen."""
        return self._policy_version

    def saw_policy(self, version: int) -> None:
        with self._mutex:
            self._policy_version = max(self._policy_version, version)

    def sizes(self) -> Mapping[str, int]:
        """The size of each log as far as it was seen: what is recorded from now on lies behind."""
        with self._mutex:
            return {origin: head.checkpoint.size for origin, head in self._heads.items()}

    def gap(self, seen: SeenCheckpoint) -> Gap | None:
        """Takes a sighting in, or says which proof that needs. Raises: LOG_INCONSISTENT."""
        with self._mutex:
            head = self._heads.get(seen.checkpoint.origin)
            if head is None:
                self._adopt(seen)
                return None
            old, new = sorted((head, seen), key=lambda item: item.checkpoint.size)
            gap = Gap(old.checkpoint, new.checkpoint, (old.note, new.note))
            if old.checkpoint.size == new.checkpoint.size:
                gap.close(())
                return None
            root = seen.root_before(head.checkpoint.size)
            if root is None:
                return gap
            # The receipt's own proof already tells the root that we saw last.
            if root != head.checkpoint.root:
                raise gap.fork()
            self._adopt(seen)
            return None

    def close(self, seen: SeenCheckpoint, gap: Gap, hashes: Sequence[bytes]) -> bool:
        """Takes a sighting in by the proof for its gap; False if another proof is needed.

        That is so where a larger checkpoint has come in meanwhile, on which the proof says
        nothing. Raises: LOG_INCONSISTENT.
        """
        gap.close(hashes)
        with self._mutex:
            if gap.old is seen.checkpoint:
                return True
            if self._heads[seen.checkpoint.origin].checkpoint is not gap.old:
                return False
            self._adopt(seen)
            return True

    def take(self, seen: SeenCheckpoint, sizes: Mapping[str, int]) -> bool:
        """Claims a receipt's entry for one call; False if it is an earlier or another call's.

        `sizes` are those from before the call.
        """
        if seen.proof is None:
            return False
        origin, index = seen.checkpoint.origin, seen.proof.index
        with self._mutex:
            taken = self.taken.setdefault(origin, set())
            if index < sizes.get(origin, 0) or index in taken:
                return False
            taken.add(index)
            if len(taken) > REMEMBERED:
                oldest = max(taken) - REMEMBERED // 2
                self.taken[origin] = {item for item in taken if item >= oldest}
            return True

    def save(self) -> None:
        """Writes what was seen to the file, where there is one."""
        with self._mutex:
            self._save()

    def _adopt(self, seen: SeenCheckpoint) -> None:
        self._heads[seen.checkpoint.origin] = seen
        # A write for each answer would cost more than the answer; a crash forgets a second.
        if self._saved_at is None or time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        notes = {origin: head.note for origin, head in self._heads.items()}
        self._file.save(ClientMemory(self._policy_version, notes))
        self._saved_at = time.monotonic()
