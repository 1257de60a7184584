"""Reads audit data from a gateway and verifies it before returning it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import grpc

from sealgate.audit.answer_logs import find_anchor
from sealgate.audit.entries import LogExcerpt, ProvedEntry, prove_entry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.statements import verify_freshness
from sealgate.trust.transparency import Checkpoint, merkle, open_checkpoint, origin_of
from sealgate.trust.transparency.tiles import Frontier
from sealgate.v1 import audit_pb2 as messages
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.log_pb2 import GetCheckpointRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub


@dataclass(frozen=True, slots=True)
class OpenedEntry:
    """Entry `index` of an answer log, verified, with every field; None where it cannot be opened,
    for its subject's key is destroyed or its opening is gone.
    """

    index: int
    fields: Mapping[str, str] | None


class AuditReader:
    """Reads behind one gateway under a policy that was reached from pinned root keys."""

    def __init__(
        self,
        channel: grpc.Channel,
        policy: Policy,
        clock: Callable[[], datetime],
        policies: Sequence[Policy] = (),
    ) -> None:
        """`policies` are the chain that ends with `policy`, oldest first, where it is at hand."""
        self.audit = AuditServiceStub(channel)
        self._logs = LogServiceStub(channel)
        self._policy = policy
        self._policies = policies or (policy,)
        self._registry = origin_of(policy.registry_log)
        self._clock = clock

    def live_at(self, time: str, model: str = "") -> LogExcerpt:
        """Raises SealgateError: PROOF_INVALID, SIGNATURE_INVALID, POINTER_STALE and the like."""
        found = self.audit.GetLiveAt(messages.GetLiveAtRequest(time=time, model=model))
        return self._excerpt(found)

    def decision(
        self, model: str, version_digest: str, sequence: int, allowance: str = ""
    ) -> LogExcerpt:
        """Return everything that an answer depends on, and the use of an allowance, by its digest.
        Raises like `live_at`.
        """
        request = messages.GetDecisionRequest(
            model=model,
            version_digest=version_digest,
            pointer_sequence=sequence,
            allowance=allowance,
        )
        return self._excerpt(self.audit.GetDecision(request))

    def anchor(self, proved: Checkpoint, index: int) -> str:
        """Return the anchor that covers entry `index` of an answer log; see `find_anchor`."""
        note = self._logs.GetCheckpoint(GetCheckpointRequest(origin=self._registry)).note
        registry = open_checkpoint(note, self._policy.log_key(self._registry))
        return find_anchor(self._logs, registry, self._policies, proved, index)

    def records(self) -> Iterator[ProvedEntry]:
        """Every entry of the registry's log with its documents.

        Believe nothing of it before it has ended: only then do the entries lead to the signed
        root, and none is missing. Raises SealgateError: LOG_INCONSISTENT, SIGNATURE_INVALID.
        """
        origin = self._registry
        note = self._logs.GetCheckpoint(GetCheckpointRequest(origin=origin)).note
        checkpoint = open_checkpoint(note, self._policy.log_key(origin))
        frontier = Frontier.empty()
        request = messages.StreamRecordsRequest(start=0, end=checkpoint.size)
        for part in self.audit.StreamRecords(request):
            indices = [entry.index for entry in part.entries]
            if indices != list(range(frontier.size, frontier.size + len(indices))):
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"{origin}: not the entry that is next"
                )
            frontier = frontier.append([merkle.leaf_hash(entry.leaf) for entry in part.entries])
            for entry in part.entries:
                yield ProvedEntry.read(entry.index, entry.leaf, entry.documents)
        if (frontier.size, frontier.root) != (checkpoint.size, checkpoint.root):
            raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin}: the entries give another root")

    def size(self, origin: str) -> int:
        """Return the log's current number of entries."""
        note = self._logs.GetCheckpoint(GetCheckpointRequest(origin=origin)).note
        return open_checkpoint(note, self._policy.log_key(origin)).size

    def openings(
        self,
        origin: str,
        start: int,
        end: int,
        values: Sequence[str] = (),
        where: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[OpenedEntry]:
        """The entries of an answer log that have each of `values` among their fields, and each
        value of `where` under its name: a field, `day` or `subject`.

        Without either each entry must come, opened or as one that cannot be. With one, that
        nothing else matches is the gateway's word; a gateway of release 0.1 ignores `where`, so a
        caller compares the fields that it gets. Raises SealgateError: LOG_INCONSISTENT for an entry
        that is left out or comes twice, PROOF_INVALID, SIGNATURE_INVALID.
        """
        request = messages.StreamOpeningsRequest(
            origin=origin, start=start, end=end, values=values, where=where
        )
        at = start
        for part in self.audit.StreamOpenings(request):
            found = sorted(
                [
                    *self._opened(origin, part.receipts),
                    *(OpenedEntry(i, None) for i in part.unopened),
                ],
                key=lambda opened: opened.index,
            )
            indices = [opened.index for opened in found]
            if not at <= part.next <= end or indices != sorted(set(indices)):
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin}: openings out of order")
            if any(not at <= index < part.next for index in indices):
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin}: openings out of order")
            if not values and not where and indices != list(range(at, part.next)):
                raise SealgateError(Reason.LOG_INCONSISTENT, f"{origin}: an entry is left out")
            at = part.next
            yield from found
        if at != end:
            raise SealgateError(
                Reason.LOG_INCONSISTENT, f"{origin}: looked through to {at} of {end}"
            )

    def _opened(self, origin: str, receipts: Iterable[bytes]) -> Iterator[OpenedEntry]:
        for data in receipts:
            receipt = Receipt.decode(data)
            verified = verify_receipt(receipt, self._policy)
            if verified.checkpoint.origin != origin:
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"an entry of another log than {origin}"
                )
            yield OpenedEntry(receipt.proof.index, verified.fields)

    def _excerpt(
        self, found: messages.GetLiveAtResponse | messages.GetDecisionResponse
    ) -> LogExcerpt:
        checkpoint = open_checkpoint(found.note, self._policy.log_key(self._registry))
        envelope = Envelope.decode(found.freshness)
        freshness = verify_freshness(envelope, self._policy, self._clock())
        entries = []
        for item in found.entries:
            prove_entry(item.leaf, item.index, item.hashes, checkpoint)
            entries.append(ProvedEntry.read(item.index, item.leaf, item.documents))
        return LogExcerpt(checkpoint, freshness, tuple(entries))
