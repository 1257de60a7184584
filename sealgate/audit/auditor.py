"""An auditor's checks of a log: entries are read and the tree is recomputed up to its signed root.

Only the root keys are trusted. The policy that they sign names the logs and their keys.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import grpc

from sealgate.audit.answer_logs import AnswerLogHistory, check_hand_overs, hand_over_size, log_keys
from sealgate.audit.reader import AuditReader
from sealgate.audit.tree_check import (
    Claim,
    LogFinding,
    StampAuthority,
    StoredHashes,
    TreeCheck,
    check_sizes,
    check_stamps,
    read_witnessed,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.remote.calls import follow, list_all
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint, current_vkey, merkle, open_checkpoint, origin_of
from sealgate.trust.transparency.checkpoint import WitnessKey
from sealgate.trust.transparency.merkle import HASH_SIZE
from sealgate.trust.transparency.tiles import Frontier
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub

_HASHES_AT_ONCE = 4096


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

    def __init__(
        self,
        channel: grpc.Channel,
        policy: Policy,
        policies: Sequence[Policy] = (),
        reader: AuditReader | None = None,
    ) -> None:
        """`policies` are the chain that ends with `policy`, oldest first, where it is at hand.
        `reader` opens entries, where they are to be opened.
        """
        self.reader = reader
        self.logs = LogServiceStub(channel)
        self._policy = policy
        self._policies = policies or (policy,)
        self._told: AnswerLogHistory | None = None

    def origins(self) -> list[str]:
        """The logs that the gateway has; each must be one that the policy names."""
        origins = list(list_all(self.logs.ListLogs, messages.ListLogsRequest(), "origins"))
        for origin in origins:
            self._policy.log_key(origin)
        return origins

    def answer_logs(self) -> list[str]:
        """Those of `origins` that hold answers."""
        return [origin for origin in self.origins() if self._policy.is_answer_log(origin)]

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
        known: Checkpoint | None = None,
        stamped_by: StampAuthority | None = None,
    ) -> LogFinding:
        """Hashes every entry up to the newest checkpoint, and compares with all that was signed. Of
        an answer log's entries that `known` covers, a checkpoint that was verified before, only the
        hashes are read, which must lead to its root.

        1. Entries of an answer log that are not there were pruned: the registry's log says so.
        2. Each anchor of an answer log is signed by its key, and of no more entries than there are;
           after a hand-over to another key, the one before signs neither these nor the newest
           checkpoint.
        3. So many of these witnesses have cosigned a tree, and the stamps of the authority that is
           named verify; see `check_stamps`.
        4. The entries, after the kept hashes of what was pruned, lead to the signed root, to that
           of each anchor, and to what was cosigned and stamped.
        5. The hashes that the log keeps, from which proofs are made, are those of its entries.

        `progress` is told how many of how many entries are done. Raises: SIGNATURE_INVALID,
        LOG_INCONSISTENT, WITNESSES_TOO_FEW, TIMESTAMP_MISMATCH.
        """
        answers = self._policy.is_answer_log(origin)
        # Before the checkpoint, so that no anchor is ahead of it.
        told = self.told() if answers else AnswerLogHistory()
        found = self.logs.GetCheckpoint(messages.GetCheckpointRequest(origin=origin))
        key = self._policy.log_key(origin)
        checkpoint = open_checkpoint(found.note, key)
        # 1.
        _check_pruned(origin, found.first, told)
        # 2.
        anchors = self._anchors(told, origin, found.note)
        # 3.
        seen = read_witnessed(found.witnessed_note, origin, key, witnesses, threshold)
        stamps = check_stamps(self.logs, origin, key, stamped_by)
        claims = [Claim(checkpoint.size, checkpoint.root, "the newest checkpoint"), *anchors]
        claims += stamps.claims
        claims += [seen.claim] if seen.claim else []
        begin = 0
        if known is not None and answers:
            claims.append(Claim(known.size, known.root, "what was verified before"))
            begin = known.size
        check_sizes(origin, claims, checkpoint.size)
        # 4. and 5.
        check = TreeCheck(origin, claims)
        visit = None if answers else told.visit
        self._read(check, max(found.first, begin), checkpoint.size, progress, visit)
        whole = check.finish(partial(self._stored, origin))
        if not answers:
            self._told = told
        finding = LogFinding.of(checkpoint, found, seen, anchors, stamps)
        return replace(finding, whole=whole, known=begin)

    def handed_over(self, origin: str) -> int:
        """The size up to which a former key of a log vouches: of an answer log, see
        `hand_over_size`; of the registry's, the size now, which its present key has signed.

        Raises SealgateError: ENTRY_UNANCHORED, SIGNATURE_INVALID.
        """
        key = self._policy.log_key(origin)
        if self._policy.is_answer_log(origin):
            return hand_over_size(self.told().anchors.get(origin, ()), key)
        note = self.logs.GetCheckpoint(messages.GetCheckpointRequest(origin=origin)).note
        return open_checkpoint(note, current_vkey(key)).size

    def told(self) -> AnswerLogHistory:
        """Return what the registry's log records about the answer logs, after verifying it. Raises
        like `verify`.
        """
        if self._told is None:
            registry = origin_of(self._policy.registry_log)
            self.verify(registry, lambda done, total: None)
        return self._told or AnswerLogHistory()

    def told_again(self) -> AnswerLogHistory:
        """The same, read anew."""
        self._told = None
        return self.told()

    def use(self, told: AnswerLogHistory) -> None:
        """Use the verified registry log of another gateway; see `told`."""
        self._told = told

    def _anchors(self, told: AnswerLogHistory, origin: str, newest: str) -> list[Claim]:
        keys, anchors = log_keys(self._policies, origin), told.anchors.get(origin, ())
        check_hand_overs(anchors, newest, keys)
        return [anchor.claim(keys) for anchor in anchors]

    def _read(
        self,
        check: TreeCheck,
        first: int,
        size: int,
        progress: Callable[[int, int], None],
        visit: Callable[[int, bytes], None] | None,
    ) -> None:
        """Have `check` read a log: `first` hashes, then entries with their hashes beside them."""
        stored = StoredHashes(self._hashes(check.origin, 0, size))
        while check.size < first:
            data = stored.take(min(_HASHES_AT_ONCE, first - check.size))
            if not data:
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{check.origin}: hashes are missing")
            check.add_hashes([data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])
            progress(check.size, size)
        for leaves in self.entries(check.origin, size, first):
            if visit is not None:
                for index, leaf in enumerate(leaves, check.size):
                    visit(index, leaf)
            check.add(leaves, stored.take(len(leaves)))
            progress(check.size, size)

    def _stored(self, origin: str, level: int, count: int) -> Iterator[bytes] | None:
        """The hashes of a level of tiles; None where the gateway's release does not show them."""
        request = messages.StreamHashesRequest(origin=origin, start=0, end=count, level=level)
        parts = list(self.logs.StreamHashes(request))
        if any(part.level != level for part in parts):
            return None
        return (part.hashes for part in parts)

    def hashes(self, origin: str, end: int) -> list[bytes]:
        """The first leaf hashes of a log, which it keeps of pruned entries too."""
        data = b"".join(self._hashes(origin, 0, end))
        return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]

    def _hashes(self, origin: str, start: int, end: int) -> Iterator[bytes]:
        request = messages.StreamHashesRequest(origin=origin, start=start, end=end)
        for part in self.logs.StreamHashes(request):
            yield part.hashes

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
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"{origin}: not the entry that comes next"
                )
            if message.leaves:
                shown += (
                    message.leaves[max(0, start - frontier.size) :] if start is not None else ()
                )
                frontier = frontier.append([merkle.leaf_hash(leaf) for leaf in message.leaves])
            if not message.note:
                continue
            checkpoint = open_checkpoint(message.note, self._policy.log_key(origin))
            if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root):
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"{origin}: the entries give another root"
                )
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
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin} has shrunk") from error
            raise
        if merkle.root(hashes[: known.size]) != known.root:
            raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin} is not the log that was known")
        begin = known.size if start is None else min(start, known.size)
        return Frontier.empty().append(hashes[: max(first, begin)])

    def _stream(self, origin: str, begin: int) -> Iterator[messages.WatchLogResponse]:
        def stream(start: int | None, seconds: float) -> Any:
            request = messages.WatchLogRequest(origin=origin, start=start)
            return self.logs.WatchLog(request, timeout=seconds)

        try:
            yield from follow(stream, lambda message: message.index + len(message.leaves), begin)
        except SealgateError as refusal:
            if refusal.reason is Reason.ENTRY_UNKNOWN:
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin} has shrunk") from refusal
            raise

    def verify_consistency(self, origin: str, old: Checkpoint) -> Checkpoint:
        """Shows that the log only grew since `old`; returns the newest checkpoint.

        Raises: PROOF_INVALID, LOG_INCONSISTENT.
        """
        new = self.checkpoint(origin)
        if new.size < old.size:
            raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin} has shrunk")
        request = messages.GetConsistencyProofRequest(
            origin=origin, old_size=old.size, new_size=new.size
        )
        proof = list(self.logs.GetConsistencyProof(request).hashes)
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
        return new


def _check_pruned(origin: str, first: int, told: AnswerLogHistory) -> None:
    if first and not 0 < first <= told.pruned.get(origin, 0):
        raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin}: entries are gone, and not pruned")
