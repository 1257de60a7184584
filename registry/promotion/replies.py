"""Rejections, withdrawals and comments on proposals, and revocations of versions.

A rejection or a withdrawal ends a proposal for good. The freshness statement tells engines of it,
so that none serves a pointer that rests on such a proposal. Each is named in every statement until
its alias moves, so one person may not end any number of them.
"""

from contextlib import suppress

from sqlalchemy import func, select

from registry.models import Versions, check_version, read_version
from registry.policy import FreshnessKeeper, PolicyBook, ended_proposals, open_own
from registry.promotion.proposals import (
    check_not_rejected,
    check_open,
    find_proposal,
    read_proposal,
)
from registry.state.events import (
    COMMENT_ADDED,
    PROPOSAL_REJECTED,
    PROPOSAL_WITHDRAWN,
    VERSION_REVOKED,
    Event,
)
from registry.state.records import ProposalRecord, VersionRecord, check_etag
from registry.state.schema import COMMENTS, POINTERS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import STAFF_ROLES
from sealgate.trust.statements import (
    Comment,
    Pointer,
    PointerBundle,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
    is_revoked,
)
from sealgate.trust.statements.covering import revoked_model

MOST_COMMENTS = 50
"""Comments that one person may make on one proposal."""
LARGEST_OF_ONE = 256 << 10
LARGEST_COMMENTS = 1536 << 10
"""Bytes of what one person, and all together, may say of a proposal. With approvals it must fit
into a message (4 MiB): nobody could read it otherwise, nor approve it.
"""
MOST_ENDED = 200
"""Proposals that one person may end of aliases that have not moved since."""


class ProposalReplies:
    """The use cases of rejecting a proposal, withdrawing it, and commenting on it."""

    def __init__(self, ledger: Ledger, book: PolicyBook, freshness: FreshnessKeeper) -> None:
        self._ledger = ledger
        self._book = book
        self._freshness = freshness

    def reject(
        self, principal: str, envelope: bytes, once: RequestKey | None = None
    ) -> ProposalRecord:
        """Take in an approver's rejection, which ends the proposal.

        1. The caller, an approver, has signed it (reasons of `open_own`).
        2. The proposal is known (PROPOSAL_UNKNOWN), and has not ended (PROPOSAL_REJECTED); nor
           has the caller ended too many that stand (RATE_EXCEEDED).
        3. The alias has not moved (SEQUENCE_STALE), and the proposal's time has not run out
           (PROPOSAL_EXPIRED); or the policy lets a rejection stop what is live, and the alias's
           newest move rests on this proposal.
        """
        opened = Envelope.decode(envelope)
        claimed = Rejection.decode(opened.payload).proposal
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            open_own(unit, opened, Rejection, policy, ("approver",))
            # 2.
            _, proposal = find_proposal(unit.connection, claimed)
            check_not_rejected(unit, claimed)
            _check_few_ended(unit, principal)
            # 3.
            if not (policy.rejections_stop_serving and _is_live(unit, proposal, claimed)):
                check_open(unit.connection, proposal, unit.now)
            self._add(unit, PROPOSAL_REJECTED, opened, claimed)
            self._freshness.renew(unit, policy)
            unit.commit()
        return self._read(claimed)

    def withdraw(
        self, principal: str, envelope: bytes, once: RequestKey | None = None
    ) -> ProposalRecord:
        """Take in the proposer's withdrawal, which ends the proposal.

        1. The caller, a publisher or an admin, has signed it (reasons of `open_own`).
        2. The proposal is known (PROPOSAL_UNKNOWN), is the caller's own (SIGNER_MISMATCH), and has
           not ended (PROPOSAL_REJECTED); nor has the caller ended too many that stand
           (RATE_EXCEEDED).
        3. The alias has not moved (SEQUENCE_STALE), and the proposal's time has not run out
           (PROPOSAL_EXPIRED).
        """
        opened = Envelope.decode(envelope)
        claimed = ProposalWithdrawal.decode(opened.payload).proposal
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            open_own(unit, opened, ProposalWithdrawal, policy, ("publisher", "admin"))
            # 2.
            row, proposal = find_proposal(unit.connection, claimed)
            if row["principal"] != principal:
                raise SealgateError(Reason.SIGNER_MISMATCH, f"{row['principal']} proposed it")
            check_not_rejected(unit, claimed)
            _check_few_ended(unit, principal)
            # 3.
            check_open(unit.connection, proposal, unit.now)
            self._add(unit, PROPOSAL_WITHDRAWN, opened, claimed)
            self._freshness.renew(unit, policy)
            unit.commit()
        return self._read(claimed)

    def comment(
        self, principal: str, envelope: bytes, once: RequestKey | None = None
    ) -> ProposalRecord:
        """Take in a comment; one that is known already changes nothing.

        1. The caller, of a person's role, has signed it (reasons of `open_own`).
        2. The proposal is known (PROPOSAL_UNKNOWN), and the caller has made fewer than 50 comments
           on it, and with this one at most 256 KiB, all at most 1.5 MiB (COMMENTS_TOO_MANY).
        """
        opened = Envelope.decode(envelope)
        claimed = Comment.decode(opened.payload).proposal
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            open_own(unit, opened, Comment, policy, STAFF_ROLES)
            # 2.
            find_proposal(unit.connection, claimed)
            same = select(COMMENTS.c.entry).where(COMMENTS.c.digest == opened.payload_digest)
            if unit.connection.scalar(same) is not None:
                return read_proposal(unit.connection, claimed, unit.now)
            _check_room(unit, claimed, principal, len(opened.encode()))
            self._add(unit, COMMENT_ADDED, opened, claimed)
            unit.commit()
        return self._read(claimed)

    def _add(self, unit: UnitOfWork, event: Event, opened: Envelope, proposal: str) -> None:
        digest = opened.payload_digest
        unit.add(event, digest=digest, proposal=proposal, envelope=opened.encode())

    def _read(self, digest: str) -> ProposalRecord:
        with self._ledger.view() as connection:
            return read_proposal(connection, digest, self._ledger.clock())


def _check_room(unit: UnitOfWork, proposal: str, principal: str, size: int) -> None:
    """Raises SealgateError(COMMENTS_TOO_MANY) where there is no room for `size` bytes more."""
    told = func.coalesce(func.sum(func.length(COMMENTS.c.envelope)), 0)
    query = select(func.count(), told).where(COMMENTS.c.proposal == proposal)
    own = query.where(COMMENTS.c.principal == principal)
    count, of_one = unit.connection.execute(own).one()
    _, of_all = unit.connection.execute(query).one()
    if count >= MOST_COMMENTS or of_one + size > LARGEST_OF_ONE or of_all + size > LARGEST_COMMENTS:
        raise SealgateError(Reason.COMMENTS_TOO_MANY, f"{principal}: {count}")


def _check_few_ended(unit: UnitOfWork, principal: str) -> None:
    """Raises SealgateError(RATE_EXCEEDED) for one who has ended as many proposals as one may."""
    count = len(ended_proposals(unit.connection, principal, unmoved=True))
    if count >= MOST_ENDED:
        raise SealgateError(
            Reason.RATE_EXCEEDED, f"{principal} ended {count} proposals since their aliases moved"
        )


def _is_live(unit: UnitOfWork, proposal: Proposal, digest: str) -> bool:
    """Say whether the alias's newest move rests on this proposal."""
    here = (POINTERS.c.model == proposal.model, POINTERS.c.alias == proposal.alias)
    newest = select(POINTERS.c.bundle).where(*here).order_by(POINTERS.c.sequence.desc()).limit(1)
    bundle = unit.connection.scalar(newest)
    if bundle is None:
        return False
    pointer = PointerBundle.decode(bytes(bundle)).pointer
    return Pointer.decode(pointer.payload).proposal == digest


class Revocations:
    """The use case of revoking."""

    def __init__(
        self, ledger: Ledger, book: PolicyBook, freshness: FreshnessKeeper, versions: Versions
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._freshness = freshness
        self._versions = versions

    def revoke(
        self, principal: str, envelope: bytes, once: RequestKey | None = None, etag: str = ""
    ) -> VersionRecord:
        """Revoke a version; where the signer may revoke every model, also the same bytes wherever
        else they are registered.

        1. The caller, an admin, has signed it (reasons of `open_own`).
        2. The version has the etag, if one is given (ETAG_STALE).
        3. It exists with this digest (VERSION_UNKNOWN), not revoked (VERSION_REVOKED).
        4. Without the right over every model, the log names these bytes under this model alone.
        5. Afterwards the log says that it is revoked (LOG_INCONSISTENT).
        """
        opened = Envelope.decode(envelope)
        claimed = Revocation.decode(opened.payload)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            revocation = open_own(unit, opened, Revocation, policy, ("admin",))
            # 2.
            model, version, digest = revocation.model, revocation.version, revocation.digest
            check_etag(etag, read_version(unit.connection, model, version).etag)
            # 3.
            check_version(unit.connection, model, version, digest)
            # 4.
            everywhere = policy.allows_everywhere(policy.principal(principal), "revoke")
            unit.add(
                VERSION_REVOKED,
                model=model,
                version=version,
                version_digest=digest if everywhere else revoked_model(model, digest),
                envelope=envelope,
            )
            self._freshness.renew(unit, policy)
            unit.commit()
        # 5.
        if not is_revoked(self._ledger.logged().revoked, claimed.model, claimed.digest):
            # A request that was never carried out, remembered as one that was.
            raise SealgateError(Reason.LOG_INCONSISTENT, f"no entry revokes {claimed.digest}")
        return self._versions.get(claimed.model, claimed.version)
