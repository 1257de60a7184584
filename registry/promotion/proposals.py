"""Proposals to promote a version with their signed approvals; and signed revocations."""

from contextlib import suppress
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from registry.listing.paging import (
    FIRST_PAGE,
    ListQuery,
    Page,
    member,
    number,
    read_page,
    text,
    time,
)
from registry.models.models import check_model, check_version, evidence_of, read_version
from registry.models.versions import Versions
from registry.policy.freshness import FreshnessKeeper
from registry.policy.policies import PolicyBook, PolicyChain, open_own
from registry.state.events import APPROVAL_ADDED, PROPOSAL_CREATED, VERSION_REVOKED
from registry.state.records import ProposalRecord, VersionRecord, check_etag
from registry.state.schema import APPROVALS, POINTERS, PROPOSALS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Proposal, Revocation, is_revoked
from sealgate.trust.statements.verification import revoked_model
from sealgate.trust.times import parse_time


class Proposals:
    """The use cases around proposals and approvals."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def create(
        self, principal: str, envelope: bytes, once: RequestKey | None = None
    ) -> ProposalRecord:
        """Take in a proposal; one that is known already is returned as it is.

        1. The caller, a publisher or an admin, has signed it (reasons of `open_own`).
        2. It names the newest policy (reasons of `PolicyChain.check_named`), which has a rule
           for the alias (ALIAS_UNKNOWN).
        3. The version exists with this digest (VERSION_UNKNOWN), not revoked (VERSION_REVOKED).
        4. Its evidence is all the evidence of the version (EVIDENCE_MISMATCH): whoever approves
           has been told of every item. It is what the policy asks for (EVIDENCE_MISSING), from
           those who may make it (ROLE_TOO_LOW; PRINCIPAL_UNKNOWN for who is no more).
        5. It follows the alias's newest pointer (SEQUENCE_STALE).
        6. Its time has not run out (PROPOSAL_EXPIRED).
        """
        opened = Envelope.decode(envelope)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            connection = unit.connection
            chain = self._book.read_for(unit)
            policy = chain.current(unit.now)
            # 1.
            proposal = open_own(principal, opened, Proposal, policy, ("publisher", "admin"))
            if _find(connection, opened.payload_digest) is not None:
                return _record(connection, opened.payload_digest)
            # 2. to 6.
            _check_proposal(connection, chain, proposal, unit.now)
            unit.add(
                PROPOSAL_CREATED,
                digest=opened.payload_digest,
                model=proposal.model,
                alias=proposal.alias,
                version=proposal.version,
                envelope=envelope,
            )
            unit.commit()
        return self.get(opened.payload_digest)

    def approve(
        self, principal: str, envelope: bytes, once: RequestKey | None = None
    ) -> ProposalRecord:
        """Take in one person's approval.

        1. The caller, an approver, has signed it (reasons of `open_own`).
        2. The proposal is known (PROPOSAL_UNKNOWN), and names the newest policy.
        3. The version is not revoked (VERSION_REVOKED); the caller has not published nor proposed
           it (SELF_APPROVAL), and has not approved before (APPROVAL_EXISTS).
        4. The alias has not moved (SEQUENCE_STALE), and the proposal's time has not run out
           (PROPOSAL_EXPIRED).
        """
        opened = Envelope.decode(envelope)
        claimed = Approval.decode(opened.payload).proposal
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            connection = unit.connection
            chain = self._book.read_for(unit)
            # 1.
            policy = chain.current(unit.now)
            approval = open_own(principal, opened, Approval, policy, ("approver",))
            # 2.
            row, proposal = find_proposal(connection, approval.proposal)
            chain.check_named(proposal.policy)
            # 3.
            version = check_version(connection, proposal.model, proposal.version, proposal.digest)
            if principal in (version["principal"], row["principal"]):
                raise SealgateError(Reason.SELF_APPROVAL, principal)
            here = (APPROVALS.c.proposal == approval.proposal, APPROVALS.c.principal == principal)
            if connection.scalar(select(APPROVALS.c.entry).where(*here)) is not None:
                raise SealgateError(Reason.APPROVAL_EXISTS, principal)
            # 4.
            _check_open(connection, proposal, unit.now)
            unit.add(
                APPROVAL_ADDED,
                digest=opened.payload_digest,
                proposal=approval.proposal,
                envelope=envelope,
            )
            unit.commit()
        return self.get(claimed)

    def get(self, digest: str) -> ProposalRecord:
        """Return a proposal by the digest of its payload. Raises
        SealgateError(PROPOSAL_UNKNOWN).
        """
        with self._ledger.view() as connection:
            return _record(connection, digest)

    def list(self, model: str, asked: ListQuery = FIRST_PAGE) -> Page[ProposalRecord]:
        """Return a page of a model's proposals, oldest first.

        Raises SealgateError: MODEL_UNKNOWN, or as `read_page`.
        """
        query = select(PROPOSALS).where(PROPOSALS.c.model == model)
        scope = ["proposals", model]
        with self._ledger.view() as connection:
            check_model(connection, model)
            page = read_page(connection, query, PROPOSALS.c.entry, asked, scope, _FIELDS)
            return page.map(lambda row: _record(connection, row["digest"]))


def _approved_by(name: str) -> ColumnElement[bool]:
    here = (APPROVALS.c.proposal == PROPOSALS.c.digest, APPROVALS.c.principal == name)
    return select(APPROVALS.c.entry).where(*here).exists()


_FIELDS = {
    "digest": text(PROPOSALS.c.digest),
    "alias": text(PROPOSALS.c.alias),
    "version": number(PROPOSALS.c.version),
    "proposer": text(PROPOSALS.c.principal),
    "create_time": time(PROPOSALS.c.time),
    "approver": member(_approved_by),
}


def _check_proposal(
    connection: Connection, chain: PolicyChain, proposal: Proposal, now: datetime
) -> None:
    """The steps 2 to 6 of taking in a proposal."""
    # 2.
    chain.check_named(proposal.policy)
    chain.newest.approvals_for(proposal.alias, proposal.model)
    # 3.
    check_version(connection, proposal.model, proposal.version, proposal.digest)
    # 4.
    known = evidence_of(connection, proposal.model, proposal.version)
    if proposal.evidence != tuple(sorted((row["kind"], row["digest"]) for row in known)):
        raise SealgateError(Reason.EVIDENCE_MISMATCH, "not all of the evidence, or other")
    policy = chain.newest
    if policy.evidence is not None:
        policy.evidence.check_kinds(row["kind"] for row in known)
        for row in known:
            policy.evidence.check_maker(row["kind"], policy.principal(row["maker"]).roles)
    # 5. and 6.
    _check_open(connection, proposal, now)


def _check_open(connection: Connection, proposal: Proposal, now: datetime) -> None:
    """Raises SealgateError: SEQUENCE_STALE once the alias has moved, PROPOSAL_EXPIRED in the
    end.
    """
    check_sequence(connection, proposal.model, proposal.alias, proposal.predecessor + 1)
    if now >= parse_time(proposal.not_after):
        raise SealgateError(Reason.PROPOSAL_EXPIRED, proposal.not_after)


def find_proposal(connection: Connection, digest: str) -> tuple[RowMapping, Proposal]:
    """Return a proposal's row and content. Raises SealgateError(PROPOSAL_UNKNOWN)."""
    row = _find(connection, digest)
    if row is None:
        raise SealgateError(Reason.PROPOSAL_UNKNOWN, digest)
    return row, Proposal.decode(Envelope.decode(bytes(row["envelope"])).payload)


def newest_sequence(connection: Connection, model: str, alias: str) -> int:
    """Return the sequence of an alias's newest pointer, 0 if it has none."""
    here = (POINTERS.c.model == model, POINTERS.c.alias == alias)
    return connection.scalar(select(func.max(POINTERS.c.sequence)).where(*here)) or 0


def check_sequence(connection: Connection, model: str, alias: str, sequence: int) -> None:
    """Check that `sequence` is the alias's next. Raises SealgateError(SEQUENCE_STALE)."""
    newest = newest_sequence(connection, model, alias)
    if sequence != newest + 1:
        raise SealgateError(Reason.SEQUENCE_STALE, f"{sequence} after {newest}")


def _find(connection: Connection, digest: str) -> RowMapping | None:
    query = select(PROPOSALS).where(PROPOSALS.c.digest == digest)
    return connection.execute(query).mappings().one_or_none()


def _record(connection: Connection, digest: str) -> ProposalRecord:
    row, _ = find_proposal(connection, digest)
    query = select(APPROVALS.c.envelope).where(APPROVALS.c.proposal == digest)
    approvals = connection.scalars(query.order_by(APPROVALS.c.entry))
    return ProposalRecord(
        digest=digest,
        model=row["model"],
        alias=row["alias"],
        version=row["version"],
        proposer=row["principal"],
        time=row["time"],
        envelope=bytes(row["envelope"]),
        approvals=tuple(bytes(approval) for approval in approvals),
        entry=row["entry"],
    )


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
            revocation = open_own(principal, opened, Revocation, policy, ("admin",))
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
