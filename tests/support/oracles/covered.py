"""The versions that a statement of freshness lets answer, written a second time: engines have this
rule of their own (`inference.engine.version_verifier`), together with what they remember.
"""

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import Freshness, Pointer, is_revoked


def check_covered(pointer: Pointer, freshness: Freshness) -> None:
    """Check that a pointer is the alias's newest and that its version may answer.

    Raises SealgateError: POINTER_STALE, VERSION_REVOKED or PROPOSAL_REJECTED.
    """
    if freshness.pointer(pointer.model, pointer.alias) != (
        pointer.sequence,
        pointer.payload_digest,
    ):
        raise SealgateError(Reason.POINTER_STALE, f"{pointer.model}/{pointer.alias}")
    if is_revoked(freshness.revoked, pointer.model, pointer.digest):
        raise SealgateError(Reason.VERSION_REVOKED, pointer.digest)
    if pointer.proposal in freshness.rejected:
        raise SealgateError(Reason.PROPOSAL_REJECTED, pointer.proposal)
