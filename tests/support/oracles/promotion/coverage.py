"""Which events must have occurred for runs to say anything, and those that have not."""

from collections.abc import Iterable, Mapping

OFTEN = (
    "runs",
    "production answered",
    "production moved: promote",
    "honest state followed",
    "promotion",
    "revocation",
    "update believed",
    "update refused: POINTER_STALE",
    "production refused: POINTER_STALE",
    "pointer rejected: POINTER_INVALID",
    "pointer rejected: VERSION_REVOKED",
)
"""In every few hundred runs."""

ALWAYS = (
    *OFTEN,
    "production moved: rollback",
    "canary moved: promote",
    "rollback",
    "evidence",
    "registry opened",
    "registry reopened",
    "policy: arne leaves",
    "policy: arne is out",
    "policy: arne's key withdrawn",
    "policy: otto's key withdrawn",
    "policy: stricter",
    "policy: ending",
    "update refused: POLICY_ROLLED_BACK",
    "update refused: THRESHOLD_NOT_MET",
    "production refused: POLICY_EXPIRED",
    "production refused: VERSION_REVOKED",
    "pointer rejected: APPROVALS_MISSING",
    "pointer rejected: SELF_APPROVAL",
    "pointer rejected: SIGNER_MISMATCH",
    "pointer rejected: SIGNATURE_INVALID",
    "pointer rejected: SEQUENCE_STALE",
    "pointer rejected: KEY_WITHDRAWN",
    "pointer rejected: VERSION_ALTERED",
    "pointer rejected: ROLLBACK_TARGET",
    "pointer rejected: POINTER_STALE",
)
"""In every few thousand runs."""


def missing(events: Mapping[str, int], names: Iterable[str]) -> list[str]:
    """The events of these names that have not occurred."""
    return [name for name in names if not events.get(name)]
