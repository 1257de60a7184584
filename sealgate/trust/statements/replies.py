"""What people sign about a proposal beside approvals: rejections, withdrawals and comments.

A rejection by an approver, or a withdrawal by the proposer, ends the proposal for good: nobody can
approve or promote it any more, and a new one must be made. A comment changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sealgate.trust.canonical import check_digest
from sealgate.trust.statements import base as form
from sealgate.trust.statements.base import Check, Statement

REJECTION = "application/vnd.sealgate.rejection.v1+json"
WITHDRAWAL = "application/vnd.sealgate.proposal-withdrawal.v1+json"
COMMENT = "application/vnd.sealgate.comment.v1+json"


@dataclass(frozen=True, slots=True)
class Rejection(Statement):
    """An approver's signed no to a proposal, with the reason."""

    TYPE: ClassVar[str] = "sealgate/rejection/v1"
    PAYLOAD_TYPE: ClassVar[str] = REJECTION
    AUTHOR: ClassVar[str] = "approver"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "approver": form.name,
        "reason": form.sentence,
        "time": form.time,
    }

    proposal: str
    approver: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class ProposalWithdrawal(Statement):
    """The proposer's word that a proposal is no longer made."""

    TYPE: ClassVar[str] = "sealgate/proposal-withdrawal/v1"
    PAYLOAD_TYPE: ClassVar[str] = WITHDRAWAL
    AUTHOR: ClassVar[str] = "proposer"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "proposer": form.name,
        "reason": form.sentence,
        "time": form.time,
    }

    proposal: str
    proposer: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Comment(Statement):
    """A remark on a proposal, by anyone who may read it and has a signing key."""

    TYPE: ClassVar[str] = "sealgate/comment/v1"
    PAYLOAD_TYPE: ClassVar[str] = COMMENT
    AUTHOR: ClassVar[str] = "person"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "person": form.name,
        "text": form.sentence,
        "time": form.time,
    }

    proposal: str
    person: str
    text: str
    time: str
