"""Statements: what people and services sign, and the checks of what follows from it."""

from sealgate.trust.statements.base import passkey_envelope, signing_challenge
from sealgate.trust.statements.covering import (
    PointerBundle,
    is_revoked,
    verify_freshness,
)
from sealgate.trust.statements.manifest import FileEntry, Manifest
from sealgate.trust.statements.types import (
    Approval,
    Comment,
    Evidence,
    Freshness,
    Pointer,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
)
from sealgate.trust.statements.verification import (
    open_statement,
    open_under,
    review_end,
    sign_statement,
    verify_pointer,
)

__all__ = [
    "Approval",
    "Comment",
    "Evidence",
    "FileEntry",
    "Freshness",
    "Manifest",
    "Pointer",
    "PointerBundle",
    "Proposal",
    "ProposalWithdrawal",
    "Rejection",
    "Revocation",
    "is_revoked",
    "open_statement",
    "open_under",
    "passkey_envelope",
    "review_end",
    "sign_statement",
    "signing_challenge",
    "verify_freshness",
    "verify_pointer",
]
