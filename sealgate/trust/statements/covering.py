"""What is newest: the statement of freshness, what it covers, and the names of what is revoked."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements.types import Freshness, Pointer
from sealgate.trust.times import CLOCK_SKEW, parse_time

_REVOKED_CONTEXT = "sealgate/revoked-of-model/v1"


def verify_freshness(envelope: Envelope, policy: Policy, now: datetime) -> Freshness:
    """Return the statement of what is live now.

    1. The policy is still valid (POLICY_EXPIRED).
    2. The payload is a freshness statement (SIGNATURE_INVALID for another type,
       DOCUMENT_MALFORMED) that a key of a principal of the role `freshness` has signed
       (SIGNATURE_INVALID, THRESHOLD_NOT_MET).
    3. It lives no longer than the policy lets it and is not from the future (POINTER_STALE).
    4. It has not expired (POINTER_STALE).
    """
    # 1.
    policy.check_standing(now)
    # 2.
    keys = {k: policy.keys[k] for p in policy.with_role("freshness") for k in p.keys}
    dsse.verify(envelope, Freshness.PAYLOAD_TYPE, keys)
    freshness = Freshness.decode(envelope.payload)
    # 3.
    issued, expires = parse_time(freshness.issued), parse_time(freshness.expires)
    longest = timedelta(seconds=policy.rules.freshness_seconds)
    if expires - issued > longest or issued > now + CLOCK_SKEW:
        raise SealgateError(Reason.POINTER_STALE, "a freshness statement with times that cannot be")
    # 4.
    if now >= expires:
        raise SealgateError(Reason.POINTER_STALE, f"since {freshness.expires}")
    return freshness


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


def revoked_model(model: str, digest: str) -> str:
    """Return the name by which a revocation names a version under `model` alone.

    It is the SHA-256 of a text with the model's name and the version's digest. A revocation of the
    version under every model names its digest. The two can't be mistaken for each other: a
    manifest begins with `{`, this text does not.
    """
    return sha256(f"{_REVOKED_CONTEXT}\n{model}\n{digest}".encode())


def revocation_names(model: str, digest: str) -> tuple[str, str]:
    """Return every name under which a model's version may have been revoked."""
    return digest, revoked_model(model, digest)


def is_revoked(revoked: Collection[str], model: str, digest: str) -> bool:
    """Say whether a model's version is among what was revoked."""
    return any(name in revoked for name in revocation_names(model, digest))
