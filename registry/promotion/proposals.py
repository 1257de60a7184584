"""Proposals to promote a version: signed approvals, and reads with all that was said of each."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, case, func, select

from registry.listing import (
    FIRST_PAGE,
    ListQuery,
    Page,
    fitting,
    member,
    number,
    read_page,
    text,
    time,
)
from registry.models import check_model, check_version, evidence_of
from registry.policy import PolicyBook, PolicyChain, open_own
from registry.state.events import APPROVAL_ADDED, PROPOSAL_CREATED
from registry.state.records import ProposalRecord
from registry.state.schema import (
    APPROVALS,
    COMMENTS,
    POINTERS,
    PROPOSAL_WITHDRAWALS,
    PROPOSALS,
    REJECTIONS,
    VERSIONS,
)
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Manifest, Proposal
from sealgate.trust.times import parse_time

OPEN, REJECTED, WITHDRAWN, MOVED, EXPIRED = "open", "rejected", "withdrawn", "moved", "expired"


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
        3. The version exists with this digest (VERSION_UNKNOWN), not revoked (VERSION_REVOKED), and
           is screened or exempt (SCREENING_REQUIRED).
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
            proposal = open_own(unit, opened, Proposal, policy, ("publisher", "admin"))
            if is_known(connection, opened.payload_digest):
                return read_proposal(connection, opened.payload_digest, unit.now)
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
           it (SELF_APPROVAL), and has not approved before (APPROVAL_EXISTS). Nobody has rejected
           or withdrawn the proposal (PROPOSAL_REJECTED).
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
            approval = open_own(unit, opened, Approval, policy, ("approver",))
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
            check_not_rejected(unit, approval.proposal)
            # 4.
            check_open(connection, proposal, unit.now)
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
            return read_proposal(connection, digest, self._ledger.clock())

    def list(self, model: str = "", asked: ListQuery = FIRST_PAGE) -> Page[ProposalRecord]:
        """Return a page of proposals, of a model or of all, oldest first.

        Raises SealgateError: MODEL_UNKNOWN, or as `read_page`.
        """
        with self._ledger.view() as connection:
            if model:
                check_model(connection, model)
            return read_proposals(connection, model, asked, self._ledger.clock())


def _check_proposal(
    connection: Connection, chain: PolicyChain, proposal: Proposal, now: datetime
) -> None:
    """The steps 2 to 6 of taking in a proposal."""
    # 2.
    chain.check_named(proposal.policy)
    chain.newest.approvals_for(proposal.alias, proposal.model)
    # 3.
    version = check_version(connection, proposal.model, proposal.version, proposal.digest)
    screened = Manifest.decode(bytes(version["manifest"])).screened
    chain.newest.check_screening(proposal.model, screened)
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
    check_open(connection, proposal, now)


def check_open(connection: Connection, proposal: Proposal, now: datetime) -> None:
    """Raises SealgateError: SEQUENCE_STALE once the alias has moved, PROPOSAL_EXPIRED in the
    end.
    """
    check_sequence(connection, proposal.model, proposal.alias, proposal.predecessor + 1)
    if now >= parse_time(proposal.not_after):
        raise SealgateError(Reason.PROPOSAL_EXPIRED, proposal.not_after)


def check_not_rejected(unit: UnitOfWork, proposal: str) -> None:
    """Raises SealgateError(PROPOSAL_REJECTED) for a proposal that the log says was rejected or
    withdrawn.
    """
    if proposal in unit.logged().rejected:
        raise SealgateError(Reason.PROPOSAL_REJECTED, proposal)


def newest_sequence(connection: Connection, model: str, alias: str) -> int:
    """Return the sequence of an alias's newest pointer, 0 if it has none."""
    here = (POINTERS.c.model == model, POINTERS.c.alias == alias)
    return connection.scalar(select(func.max(POINTERS.c.sequence)).where(*here)) or 0


def check_sequence(connection: Connection, model: str, alias: str, sequence: int) -> None:
    """Check that `sequence` is the alias's next. Raises SealgateError(SEQUENCE_STALE)."""
    newest = newest_sequence(connection, model, alias)
    if sequence != newest + 1:
        raise SealgateError(Reason.SEQUENCE_STALE, f"{sequence} after {newest}")


def is_known(connection: Connection, digest: str) -> bool:
    """Say whether there is a proposal of that digest."""
    query = select(PROPOSALS.c.entry).where(PROPOSALS.c.digest == digest)
    return connection.scalar(query) is not None


def find_proposal(connection: Connection, digest: str) -> tuple[RowMapping, Proposal]:
    """Return a proposal's row and content. Raises SealgateError(PROPOSAL_UNKNOWN)."""
    query = _query().where(PROPOSALS.c.digest == digest)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SealgateError(Reason.PROPOSAL_UNKNOWN, digest)
    return row, Proposal.decode(Envelope.decode(bytes(row["envelope"])).payload)


def read_proposal(connection: Connection, digest: str, now: datetime) -> ProposalRecord:
    """Return one proposal. Raises SealgateError(PROPOSAL_UNKNOWN)."""
    row, _ = find_proposal(connection, digest)
    return _records(connection, [row], now)[0]


def read_proposals(
    connection: Connection, model: str, asked: ListQuery, now: datetime
) -> Page[ProposalRecord]:
    """Return a page of proposals, of a model or of all, oldest first. A page ends before what was
    said has more than 2 MiB, but for its first proposal. Raises SealgateError as `read_page`.
    """
    query = _query().where(PROPOSALS.c.model == model) if model else _query()
    scope = ["proposals", model]
    page = read_page(connection, query, PROPOSALS.c.entry, asked, scope, _FIELDS)
    records = _records(connection, page.records, now)
    count = fitting(map(_size, records)) if records else 0
    if count == len(records):
        return Page(records, page.next_page_token)
    return Page(records[:count], asked.token(page.records[count - 1]["entry"], *scope))


def _size(record: ProposalRecord) -> int:
    said = (record.approvals, record.rejections, record.comments)
    return sum(len(envelope) for envelopes in said for envelope in envelopes)


def _has(table: Table) -> ColumnElement[bool]:
    return select(table.c.entry).where(table.c.proposal == PROPOSALS.c.digest).exists()


def _approved_by(name: str) -> ColumnElement[bool]:
    here = (APPROVALS.c.proposal == PROPOSALS.c.digest, APPROVALS.c.principal == name)
    return select(APPROVALS.c.entry).where(*here).exists()


# A proposal follows the alias's newest pointer, so any pointer that came later is past it.
_LATER_MOVE = (
    POINTERS.c.model == PROPOSALS.c.model,
    POINTERS.c.alias == PROPOSALS.c.alias,
    POINTERS.c.entry > PROPOSALS.c.entry,
)
_STATE = case(
    (_has(REJECTIONS), REJECTED),
    (_has(PROPOSAL_WITHDRAWALS), WITHDRAWN),
    (select(POINTERS.c.entry).where(*_LATER_MOVE).exists(), MOVED),
    else_=OPEN,
)
_PUBLISHER = (
    select(VERSIONS.c.principal)
    .where(VERSIONS.c.model == PROPOSALS.c.model, VERSIONS.c.version == PROPOSALS.c.version)
    .scalar_subquery()
)
_FIELDS = {
    "digest": text(PROPOSALS.c.digest),
    "model": text(PROPOSALS.c.model),
    "alias": text(PROPOSALS.c.alias),
    "version": number(PROPOSALS.c.version),
    "proposer": text(PROPOSALS.c.principal),
    "publisher": text(_PUBLISHER),
    "create_time": time(PROPOSALS.c.time),
    "approver": member(_approved_by),
    # One whose time has run out counts as open here: only its statement says when that is.
    "state": text(_STATE),
}


def _query() -> Select[Any]:
    return select(PROPOSALS, _STATE.label("state"))


def _records(
    connection: Connection, rows: Sequence[RowMapping], now: datetime
) -> tuple[ProposalRecord, ...]:
    if not rows:
        return ()
    digests = [row["digest"] for row in rows]
    said = {
        table.name: _envelopes(connection, table, digests)
        for table in (APPROVALS, REJECTIONS, PROPOSAL_WITHDRAWALS, COMMENTS)
    }

    def record(row: RowMapping) -> ProposalRecord:
        digest = row["digest"]
        withdrawals = said["proposal_withdrawals"].get(digest, ())
        return ProposalRecord(
            digest=digest,
            model=row["model"],
            alias=row["alias"],
            version=row["version"],
            proposer=row["principal"],
            time=row["time"],
            envelope=bytes(row["envelope"]),
            approvals=said["approvals"].get(digest, ()),
            entry=row["entry"],
            rejections=said["rejections"].get(digest, ()),
            withdrawal=withdrawals[0] if withdrawals else b"",
            comments=said["comments"].get(digest, ()),
            state=_state(row, now),
        )

    return tuple(map(record, rows))


def _envelopes(
    connection: Connection, table: Table, digests: Sequence[str]
) -> dict[str, tuple[bytes, ...]]:
    """The envelopes about each of the proposals, oldest first."""
    query = select(table.c.proposal, table.c.envelope).where(table.c.proposal.in_(digests))
    found: dict[str, tuple[bytes, ...]] = {}
    for row in connection.execute(query.order_by(table.c.entry)):
        found[row.proposal] = (*found.get(row.proposal, ()), bytes(row.envelope))
    return found


def _state(row: RowMapping, now: datetime) -> str:
    if row["state"] != OPEN:
        return str(row["state"])
    proposal = Proposal.decode(Envelope.decode(bytes(row["envelope"])).payload)
    return EXPIRED if now >= parse_time(proposal.not_after) else OPEN
