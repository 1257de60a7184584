"""History of the answer logs in the registry's log: anchors, prunings, erasures, new keys.

The first anchor by a log's next key is the hand-over, which both keys have signed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from sealgate.audit.entries import prove_entry
from sealgate.audit.tree_check import Claim
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.trust import canonical, fields
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint, current_vkey, open_checkpoint, origin_of
from sealgate.trust.transparency.merkle import verify_consistency
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub


@dataclass(slots=True)
class ErasureCounts:
    """Counts of erased and pruned entries of one answer log, from the registry's log.

    `entries` were closed by erasures, `pruned` of these were pruned since. `uncounted` erasures are
    of a release that did not count.
    """

    entries: int = 0
    pruned: int = 0
    uncounted: int = 0

    @property
    def kept(self) -> int:
        """The number of closed entries that were not pruned."""
        return self.entries - self.pruned


@dataclass(frozen=True, slots=True)
class ClosedEntries:
    """The number of entries that cannot be opened. `explained` is False where an erasure of an
    earlier release did not count, so that nobody can tell.
    """

    entries: int
    explained: bool


def check_closed(
    origin: str, closed: int, told: ErasureCounts, again: Callable[[], ErasureCounts]
) -> ClosedEntries:
    """Compare how many entries of those that are kept cannot be opened with what erasures closed.

    `again` reads the registry's log once more, for an erasure or a pruning may have come in
    between. Raises SealgateError: OPENING_MISSING, ERASURE_UNFINISHED.
    """
    if not told.uncounted and closed != told.kept:
        told = again()
    if told.uncounted:
        return ClosedEntries(closed, explained=False)
    detail = f"{origin}: {closed} entries cannot be opened, and erasures closed {told.kept}"
    if closed > told.kept:
        raise SealgateError(Reason.OPENING_MISSING, detail)
    if closed < told.kept:
        raise SealgateError(Reason.ERASURE_UNFINISHED, detail)
    return ClosedEntries(closed, explained=True)


ANCHORED = "answers.anchored"
PRUNED = "log.pruned"
ACCEPTED = "policy.accepted"
ERASED = "subject.erased"
# The texts of which a leaf must contain one before it is read as a whole.
_MARKS = tuple(f'"event":"{name}"'.encode() for name in (ANCHORED, PRUNED, ACCEPTED, ERASED))

_LONGEST_NOTE = 1 << 14


@dataclass(frozen=True, slots=True)
class Anchor:
    """Entry `entry` of the registry's log, of that time: an answer log's signed checkpoint."""

    entry: int
    time: str
    size: int
    note: str

    def claim(self, vkeys: Sequence[str]) -> Claim:
        """Return what the checkpoint says, which one of the keys that the log has had must have
        signed.

        Raises SealgateError: SIGNATURE_INVALID, DOCUMENT_MALFORMED; LOG_INCONSISTENT where it
        states another size than its entry.
        """
        *others, last = vkeys
        checkpoint = None
        for vkey in others:
            try:
                checkpoint = open_checkpoint(self.note, vkey)
                break
            except SealgateError:
                # A later policy may have added a second key, which did not sign what was before.
                continue
        checkpoint = checkpoint or open_checkpoint(self.note, last)
        if checkpoint.size != self.size:
            raise SealgateError(Reason.LOG_INCONSISTENT, f"entry {self.entry} anchors another size")
        return Claim(checkpoint.size, checkpoint.root, f"the anchor in entry {self.entry}")


@dataclass(slots=True)
class AnswerLogHistory:
    """Collects from the leaves of the registry's log, which come in order.

    `anchors`, `pruned` (how many entries) and `erased` are by origin; `policies` are the digests of
    accepted policies, oldest first.
    """

    anchors: dict[str, list[Anchor]] = field(default_factory=dict)
    pruned: dict[str, int] = field(default_factory=dict)
    erased: dict[str, ErasureCounts] = field(default_factory=dict)
    policies: list[str] = field(default_factory=list)

    def visit(self, index: int, leaf: bytes) -> None:
        """Raises SealgateError(DOCUMENT_MALFORMED) for an entry that tells of a log in no known
        way.
        """
        if not any(mark in leaf for mark in _MARKS):
            return
        entry = fields.mapping(canonical.decode(leaf))
        event, body = entry.get("event"), fields.mapping(entry.get("body"))
        if event == ACCEPTED:
            self.policies.append(fields.text(body.get("digest")))
        elif event == PRUNED:
            origin, size = _origin(entry), fields.integer(body.get("size"))
            self.pruned[origin] = max(size, self.pruned.get(origin, 0))
            if "closed" in body:
                erased = self.erased.setdefault(origin, ErasureCounts())
                erased.pruned = max(erased.pruned, fields.integer(body["closed"]))
        elif event == ERASED:
            erased = self.erased.setdefault(_origin(entry), ErasureCounts())
            if "entries" in body:
                erased.entries += fields.integer(body["entries"])
            else:
                erased.uncounted += 1
        elif event == ANCHORED:
            size, time = fields.integer(body.get("size")), fields.text(entry.get("time"))
            anchor = Anchor(index, time, size, fields.text(body.get("checkpoint"), _LONGEST_NOTE))
            self.anchors.setdefault(_origin(entry), []).append(anchor)


def log_keys(policies: Sequence[Policy], origin: str) -> list[str]:
    """The keys that a log has had in a chain of policies, the newest first.

    Raises SealgateError(LOG_UNKNOWN) where none names it.
    """
    keys: dict[str, None] = {}
    for policy in reversed(policies):
        try:
            keys[policy.log_key(origin)] = None
        except SealgateError:
            continue
    if not keys:
        raise SealgateError(Reason.LOG_UNKNOWN, f"no policy names {origin}")
    return list(keys)


def named_logs(policies: Sequence[Policy]) -> dict[str, str]:
    """Every log that a policy of the chain names, the registry's of the newest one first, and by
    which versions of the policy it was named.
    """
    versions: dict[str, list[int]] = {origin_of(policies[-1].registry_log): []}
    for policy in policies:
        for vkey in (policy.registry_log, *policy.answer_logs):
            versions.setdefault(origin_of(vkey), []).append(policy.version)
    return {origin: _versions(numbers) for origin, numbers in versions.items()}


def last_anchor(told: AnswerLogHistory, policies: Sequence[Policy], origin: str) -> str:
    """Return what the newest anchor states about a log. Raises SealgateError as `Anchor.claim`."""
    newest = max(told.anchors.get(origin, ()), key=lambda anchor: anchor.size, default=None)
    if newest is None:
        return "never anchored"
    claim = newest.claim(log_keys(policies, origin))
    return f"{claim.by} of {newest.time} says {claim.size} entries"


def _versions(numbers: Sequence[int]) -> str:
    first, last = min(numbers), max(numbers)
    return f"version {first}" if first == last else f"versions {first} to {last}"


def _origin(entry: dict[str, Any]) -> str:
    return fields.text(entry.get("subject")).removeprefix("logs/")


_BLOCK = 1024


def find_anchor(
    logs: LogServiceStub,
    registry: Checkpoint,
    policies: Sequence[Policy],
    proved: Checkpoint,
    index: int,
) -> str:
    """Return which anchor covers entry `index`, which the answer log's checkpoint `proved` covers.

    1. The newest anchor of that log is in the registry's log, under the checkpoint `registry`.
    2. The answer log's key has signed it, and it is of more entries than `index`.
    3. One of both trees extends the other, so both begin with the entry.

    Raises SealgateError: ENTRY_UNANCHORED, LOG_UNSEEN where the gateway does not show the answer
    log, PROOF_INVALID, SIGNATURE_INVALID, LOG_INCONSISTENT.
    """
    # 1.
    anchor = _newest(logs, registry, proved.origin)
    if anchor is None:
        raise SealgateError(Reason.ENTRY_UNANCHORED, f"no anchor of {proved.origin}")
    # 2.
    claim = anchor.claim(log_keys(policies, proved.origin))
    if claim.size <= index:
        detail = f"entry {index} came after {claim.by} of {anchor.time}: {claim.size} entries"
        raise SealgateError(Reason.ENTRY_UNANCHORED, detail)
    # 3.
    old, new = sorted(((claim.size, claim.root), (proved.size, proved.root)))
    request = messages.GetConsistencyProofRequest(
        origin=proved.origin, old_size=old[0], new_size=new[0]
    )
    try:
        proof = list(logs.GetConsistencyProof(request).hashes)
    except grpc.RpcError as error:
        raise _not_shown(error, proved.origin) from error
    verify_consistency(*old, *new, proof)
    return f"{claim.by} of {anchor.time} covers it: {claim.size} entries"


def _newest(logs: LogServiceStub, registry: Checkpoint, origin: str) -> Anchor | None:
    """The newest anchor of a log, proved; looked for from the end of the registry's log."""
    for end in range(registry.size, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        request = messages.StreamEntriesRequest(origin=registry.origin, start=start, end=end)
        leaves = [leaf for part in logs.StreamEntries(request) for leaf in part.leaves]
        told = AnswerLogHistory()
        for index, leaf in enumerate(leaves, start):
            told.visit(index, leaf)
        for anchor in reversed(told.anchors.get(origin, [])):
            asked = messages.GetInclusionProofRequest(
                origin=registry.origin, index=anchor.entry, size=registry.size
            )
            hashes = logs.GetInclusionProof(asked).hashes
            prove_entry(leaves[anchor.entry - start], anchor.entry, hashes, registry)
            return anchor
    return None


def _not_shown(error: grpc.RpcError, origin: str) -> Exception:
    """Return the error for a gateway that proves no consistency of two signed sizes."""
    reason = reason_of(error)
    if reason is Reason.LOG_UNKNOWN:
        return SealgateError(Reason.LOG_UNSEEN, f"{origin} is another gateway's: ask there")
    if reason in (Reason.ENTRY_UNKNOWN, Reason.LOG_INCONSISTENT):
        detail = f"{origin}: the log that is shown is not the one that was anchored"
        return SealgateError(Reason.LOG_INCONSISTENT, detail)
    return error


def check_hand_overs(anchors: Sequence[Anchor], newest: str, keys: Sequence[str]) -> None:
    """Check the anchors of a log, in the registry log's order, and its `newest` signed checkpoint
    against the keys that it has had, the newest first: once a newer key has signed one, no older
    key alone signs another.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    lines = list(dict.fromkeys(current_vkey(key) for key in keys))
    signed = [(f"entry {anchor.entry}", anchor.note) for anchor in anchors]
    if len(lines) < 2:
        return
    reached = len(lines)
    for what, note in [*signed, ("the newest checkpoint", newest)]:
        rank = next((n for n, line in enumerate(lines) if _signed(note, line)), reached)
        if rank > reached:
            detail = f"{what} is signed by a key that had been handed over"
            raise SealgateError(Reason.LOG_INCONSISTENT, detail)
        reached = min(reached, rank)


def _signed(note: str, vkey: str) -> bool:
    with suppress(SealgateError):
        open_checkpoint(note, vkey)
        return True
    return False


def hand_over_size(anchors: Sequence[Anchor], vkey: str) -> int:
    """The size of a log at the first anchor that its present key has signed: a former key vouches
    for no more. Raises SealgateError(ENTRY_UNANCHORED) before there is one.
    """
    for anchor in anchors:
        if _signed(anchor.note, current_vkey(vkey)):
            return anchor.size
    raise SealgateError(Reason.ENTRY_UNANCHORED, "no anchor by the log's present key yet")
