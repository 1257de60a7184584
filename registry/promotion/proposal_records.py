"""Reads proposals with all that was said about them: approvals, rejections, comments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, case, select

from registry.listing.paging import ListQuery, Page, member, number, read_page, text, time
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
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Proposal
from sealgate.trust.times import parse_time

OPEN, REJECTED, WITHDRAWN, MOVED, EXPIRED = "open", "rejected", "withdrawn", "moved", "expired"


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
    """Return a page of proposals, of a model or of all, oldest first. Raises SealgateError as
    `read_page`.
    """
    query = _query().where(PROPOSALS.c.model == model) if model else _query()
    scope = ["proposals", model]
    page = read_page(connection, query, PROPOSALS.c.entry, asked, scope, _FIELDS)
    return Page(_records(connection, page.records, now), page.next_page_token)


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
