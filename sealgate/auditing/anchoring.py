"""Whether an anchor in the registry's log covers an entry of an answer log.

Until one does, the answer log's own key alone vouches for the entry.
"""

from collections.abc import Sequence

import grpc

from sealgate.auditing.entries import prove
from sealgate.auditing.told import Anchor, Told, log_keys
from sealgate.reasons import Reason, Refusal
from sealgate.remote import reason_of
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint
from sealgate.trust.transparency.merkle import verify_consistency
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub

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

    Raises Refusal: ENTRY_UNANCHORED, LOG_UNSEEN where the gateway does not show the answer log,
    PROOF_INVALID, SIGNATURE_INVALID, LOG_INCONSISTENT.
    """
    # 1.
    anchor = _newest(logs, registry, proved.origin)
    if anchor is None:
        raise Refusal(Reason.ENTRY_UNANCHORED, f"no anchor of {proved.origin}")
    # 2.
    claim = anchor.claim(log_keys(policies, proved.origin))
    if claim.size <= index:
        detail = f"entry {index} follows on {claim.by} of {anchor.time}, {claim.size} entries"
        raise Refusal(Reason.ENTRY_UNANCHORED, detail)
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
        told = Told()
        for index, leaf in enumerate(leaves, start):
            told.visit(index, leaf)
        for anchor in reversed(told.anchors.get(origin, [])):
            asked = messages.GetInclusionProofRequest(
                origin=registry.origin, index=anchor.entry, size=registry.size
            )
            hashes = logs.GetInclusionProof(asked).hashes
            prove(leaves[anchor.entry - start], anchor.entry, hashes, registry)
            return anchor
    return None


def _not_shown(error: grpc.RpcError, origin: str) -> Exception:
    """What it means that the gateway shows no proof of two sizes that its log's key has signed."""
    reason = reason_of(error)
    if reason is Reason.LOG_UNKNOWN:
        return Refusal(Reason.LOG_UNSEEN, f"{origin} is another gateway's: ask there")
    if reason in (Reason.ENTRY_UNKNOWN, Reason.LOG_INCONSISTENT):
        detail = f"{origin}: the log that is shown is not the one that was anchored"
        return Refusal(Reason.LOG_INCONSISTENT, detail)
    return error
