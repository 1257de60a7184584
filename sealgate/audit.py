"""An auditor's checks of the logs: everything is recomputed here, from entries to signed root.

Only the root keys are trusted. The policy that they sign names the logs and their keys.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from sealgate.auditing.logs import check_witnessed, note_pruning
from sealgate.following import follow
from sealgate.listing import every
from sealgate.reasons import Reason, Refusal
from sealgate.remote import reason_of
from sealgate.trust import merkle
from sealgate.trust.checkpoint import Checkpoint, open_checkpoint
from sealgate.trust.cosignature import WitnessKey
from sealgate.trust.frontier import Frontier
from sealgate.trust.policy import Policy
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub


@dataclass(frozen=True, slots=True)
class LogFinding:
    """A log whose every entry was hashed again and led to the signed root.

    Of the entries before `first`, which were pruned, only the hashes that the log keeps were. What
    `witnesses` have cosigned was of `witnessed` entries, and is extended.
    """

    origin: str
    size: int
    root: str
    first: int = 0
    witnesses: tuple[str, ...] = ()
    witnessed: int = 0


@dataclass(frozen=True, slots=True)
class Growth:
    """A checkpoint with its signed note, checked against every entry, and the newest that are to be
    shown.
    """

    checkpoint: Checkpoint
    note: str
    first: int
    leaves: tuple[bytes, ...]


class Auditor:
    """Reads and checks the logs behind one gateway."""

    def __init__(self, channel: grpc.Channel, policy: Policy) -> None:
        self.logs = LogServiceStub(channel)
        self._policy = policy
        self._prunings: dict[str, int] | None = None

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

    def verify(
        self,
        origin: str,
        progress: Callable[[int, int], None],
        witnesses: Sequence[WitnessKey] = (),
        threshold: int = 0,
    ) -> LogFinding:
        """Hashes every entry up to the newest checkpoint and compares the roots.

        1. Entries that are not there were pruned: the registry's log says so.
        2. The entries, after the kept hashes of what was pruned, lead to the signed root.
        3. So many of these witnesses have cosigned a tree, which they lead to as well.

        `progress` is told how many of how many entries are done. Raises: SIGNATURE_INVALID,
        LOG_INCONSISTENT, WITNESSES_TOO_FEW.
        """
        found = self.logs.GetCheckpoint(messages.GetCheckpointRequest(origin=origin))
        checkpoint = open_checkpoint(found.note, self._policy.log_key(origin))
        # 1.
        if found.first and not 0 < found.first <= self._pruned(origin):
            raise Refusal(Reason.LOG_INCONSISTENT, f"{origin}: entries are gone, and not pruned")
        hashes = self.hashes(origin, found.first) if found.first else []
        prunings: dict[str, int] = {}
        # 2.
        for leaves in self.entries(origin, checkpoint.size, found.first):
            for leaf in leaves:
                note_pruning(leaf, prunings)
            hashes.extend(map(merkle.leaf_hash, leaves))
            progress(len(hashes), checkpoint.size)
        if len(hashes) != checkpoint.size or merkle.root(hashes) != checkpoint.root:
            raise Refusal(Reason.LOG_INCONSISTENT, f"{origin}: the entries give another root")
        if not self._policy.is_answer_log(origin):
            self._prunings = prunings
        # 3.
        key = self._policy.log_key(origin)
        seen = check_witnessed(found.witnessed_note, key, hashes, witnesses, threshold)
        return LogFinding(
            origin, checkpoint.size, checkpoint.root.hex(), found.first, seen.names, seen.size
        )

    def hashes(self, origin: str, end: int) -> list[bytes]:
        """The first leaf hashes of a log, which it keeps of pruned entries too."""
        request = messages.StreamHashesRequest(origin=origin, start=0, end=end)
        data = b"".join(part.hashes for part in self.logs.StreamHashes(request))
        size = merkle.HASH_SIZE
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _pruned(self, origin: str) -> int:
        """How many entries the registry's log says were pruned of a log."""
        if self._prunings is None:
            registry = next(o for o in self.origins() if not self._policy.is_answer_log(o))
            self.verify(registry, lambda done, total: None)
        return (self._prunings or {}).get(origin, 0)

    def entries(self, origin: str, end: int, start: int = 0) -> Iterator[Sequence[bytes]]:
        """The entries from `start` up to `end`, in groups."""
        request = messages.StreamEntriesRequest(origin=origin, start=start, end=end)
        for part in self.logs.StreamEntries(request):
            yield part.leaves

    def follow(
        self, origin: str, start: int | None = None, known: Checkpoint | None = None
    ) -> Iterator[Growth]:
        """The log's growth from its first checkpoint on, for ever, across cut connections.

        Everything is hashed from entry 0 on, so each checkpoint is shown to extend those before; of
        pruned entries, the hashes that the log keeps are taken. So are they of what `known` covers,
        a checkpoint of this log that was checked before: they must lead to its root.
        The entries from `start` on are handed out, or those after `known`, or after the first
        checkpoint. Raises: LOG_INCONSISTENT, SIGNATURE_INVALID, and GatewayRefusal for good.
        """
        if known is not None and start is None:
            start = known.size
        frontier, shown = self._begin(origin, start, known), list[bytes]()
        for message in self._stream(origin, frontier.size):
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
            yield Growth(checkpoint, message.note, checkpoint.size - len(shown), tuple(shown))
            start, shown = start or 0, []

    def _begin(self, origin: str, start: int | None, known: Checkpoint | None) -> Frontier:
        """The tree of those entries that need not be had themselves."""
        first = self.logs.GetCheckpoint(messages.GetCheckpointRequest(origin=origin)).first
        if known is None:
            return (
                Frontier.empty().append(self.hashes(origin, first)) if first else Frontier.empty()
            )
        try:
            hashes = self.hashes(origin, max(first, known.size))
        except grpc.RpcError as error:
            if reason_of(error) is Reason.ENTRY_UNKNOWN:
                raise Refusal(Reason.LOG_INCONSISTENT, f"{origin} has shrunk") from error
            raise
        if merkle.root(hashes[: known.size]) != known.root:
            raise Refusal(Reason.LOG_INCONSISTENT, f"{origin} is not the log that was known")
        begin = known.size if start is None else min(start, known.size)
        return Frontier.empty().append(hashes[: max(first, begin)])

    def _stream(self, origin: str, begin: int) -> Iterator[messages.WatchLogResponse]:
        def stream(start: int | None, seconds: float) -> Any:
            request = messages.WatchLogRequest(origin=origin, start=start)
            return self.logs.WatchLog(request, timeout=seconds)

        try:
            yield from follow(stream, lambda message: message.index + len(message.leaves), begin)
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
