"""An auditor's checks of the logs: everything is recomputed here, from entries to signed root.

Only the root keys are trusted. The policy that they sign names the logs and their keys.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from sealgate.following import follow
from sealgate.listing import every
from sealgate.reasons import Reason, Refusal
from sealgate.trust import merkle
from sealgate.trust.checkpoint import Checkpoint, open_checkpoint
from sealgate.trust.frontier import Frontier
from sealgate.trust.policy import Policy
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub


@dataclass(frozen=True, slots=True)
class LogFinding:
    """A log whose every entry was hashed again and led to the signed root."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Growth:
    """A signed checkpoint, checked against every entry, and the newest that are to be shown."""

    checkpoint: Checkpoint
    first: int
    leaves: tuple[bytes, ...]


class Auditor:
    """Reads and checks the logs behind one gateway."""

    def __init__(self, channel: grpc.Channel, policy: Policy) -> None:
        self.logs = LogServiceStub(channel)
        self._policy = policy

    def origins(self) -> list[str]:
        """The logs that the gateway has; each must be one that the policy names."""
        origins = list(every(self.logs.ListLogs, messages.ListLogsRequest(), "origins"))
        for origin in origins:
            self._policy.log_key(origin)
        return origins

    def checkpoint(self, origin: str) -> Checkpoint:
        """The log's newest checkpoint, its signature verified."""
        note = self.logs.GetCheckpoint(messages.GetCheckpointRequest(origin=origin)).note
        return open_checkpoint(note, self._policy.log_key(origin))

    def verify(self, origin: str, progress: Callable[[int, int], None]) -> LogFinding:
        """Hashes every entry up to the newest checkpoint and compares the roots.

        `progress` is told how many of how many entries are done. Raises: SIGNATURE_INVALID,
        LOG_INCONSISTENT.
        """
        checkpoint = self.checkpoint(origin)
        hashes: list[bytes] = []
        for leaves in self.entries(origin, checkpoint.size):
            hashes.extend(map(merkle.leaf_hash, leaves))
            progress(len(hashes), checkpoint.size)
        if len(hashes) != checkpoint.size or merkle.root(hashes) != checkpoint.root:
            raise Refusal(Reason.LOG_INCONSISTENT, f"{origin}: the entries give another root")
        return LogFinding(origin, checkpoint.size, checkpoint.root.hex())

    def entries(self, origin: str, end: int, start: int = 0) -> Iterator[Sequence[bytes]]:
        """The entries from `start` up to `end`, in groups."""
        request = messages.StreamEntriesRequest(origin=origin, start=start, end=end)
        for part in self.logs.StreamEntries(request):
            yield part.leaves

    def follow(self, origin: str, start: int | None = None) -> Iterator[Growth]:
        """The log's growth from its first checkpoint on, for ever, across cut connections.

        Everything is hashed from entry 0 on, so each checkpoint is shown to extend those before.
        The entries from `start` on are handed out, or those after the first checkpoint. Raises:
        LOG_INCONSISTENT, SIGNATURE_INVALID, and GatewayRefusal for good.
        """
        frontier, shown = Frontier.empty(), list[bytes]()
        for message in self._stream(origin):
            if message.index != frontier.size:
                raise Refusal(Reason.LOG_INCONSISTENT, f"{origin}: not the entry that comes next")
            if message.leaves:
                shown += (
                    message.leaves[max(0, start - frontier.size) :] if start is not None else ()
                )
                frontier = frontier.append([merkle.leaf_hash(leaf) for leaf in message.leaves])
            if not message.note:
                continue
            checkpoint = open_checkpoint(message.note, self._policy.log_key(origin))
            if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root):
                raise Refusal(Reason.LOG_INCONSISTENT, f"{origin}: the entries give another root")
            yield Growth(checkpoint, checkpoint.size - len(shown), tuple(shown))
            start, shown = start or 0, []

    def _stream(self, origin: str) -> Iterator[messages.WatchLogResponse]:
        def stream(start: int | None, seconds: float) -> Any:
            request = messages.WatchLogRequest(origin=origin, start=start)
            return self.logs.WatchLog(request, timeout=seconds)

        try:
            yield from follow(stream, lambda message: message.index + len(message.leaves), 0)
        except Refusal as refusal:
            if refusal.reason is Reason.ENTRY_UNKNOWN:
                raise Refusal(Reason.LOG_INCONSISTENT, f"{origin} has shrunk") from refusal
            raise

    def verify_consistency(self, origin: str, old: Checkpoint) -> Checkpoint:
        """Shows that the log only grew since `old`; returns the newest checkpoint.

        Raises: PROOF_INVALID, LOG_INCONSISTENT.
        """
        new = self.checkpoint(origin)
        if new.size < old.size:
            raise Refusal(Reason.LOG_INCONSISTENT, f"{origin} has shrunk")
        request = messages.GetConsistencyProofRequest(
            origin=origin, old_size=old.size, new_size=new.size
        )
        proof = list(self.logs.GetConsistencyProof(request).hashes)
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
        return new
