"""Proposals, approvals, pointers and revocations."""

from registry.promotion.pointers import Pointers, pointer_record
from registry.promotion.proposals import EXPIRED, MOVED, OPEN, REJECTED, WITHDRAWN, Proposals
from registry.promotion.replies import ProposalReplies, Revocations

__all__ = [
    "EXPIRED",
    "MOVED",
    "OPEN",
    "REJECTED",
    "WITHDRAWN",
    "Pointers",
    "ProposalReplies",
    "Proposals",
    "Revocations",
    "pointer_record",
]
