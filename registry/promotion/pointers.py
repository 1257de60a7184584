"""Moves aliases: approved promotions, and rollbacks to the previous version."""

from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select

from registry.listing import (
    FIRST_PAGE,
    ListQuery,
    Page,
    fitting,
    number,
    presence,
    read_page,
    text,
    time,
)
from registry.models import Versions, check_model, check_version
from registry.policy import FreshnessKeeper, PolicyBook, PolicyChain, open_own
from registry.promotion.proposals import check_not_rejected, check_sequence, find_proposal
from registry.state.events import POINTER_MOVED
from registry.state.records import PointerRecord, check_etag
from registry.state.schema import APPROVALS, POINTERS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import (
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    review_end,
    verify_pointer,
)
from sealgate.trust.statements.types import PROMOTE, ROLLBACK
from sealgate.trust.times import format_time, parse_time

_KEPT_REASONS = 1024


class Pointers:
    """The use cases around pointers."""

    def __init__(
        self, ledger: Ledger, book: PolicyBook, freshness: FreshnessKeeper, versions: Versions
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._freshness = freshness
        self._versions = versions

    def promote(
        self, principal: str, envelope: bytes, once: RequestKey | None = None, etag: str = ""
    ) -> PointerRecord:
        """Move an alias to a version that enough people have approved.

        1. The version's stored bytes are those registered (VERSION_UNKNOWN, VERSION_ALTERED).
        2. The caller, an admin, has signed the pointer, a promotion under the newest policy
           (POINTER_INVALID, reasons of `open_own` and `PolicyChain.check_named`).
        3. The version has the pointer's digest and is not revoked (VERSION_UNKNOWN,
           VERSION_REVOKED); the alias's newest pointer has the etag, if one is given
           (ETAG_STALE); the sequence is the alias's next (SEQUENCE_STALE); nobody has rejected
           or withdrawn the proposal (PROPOSAL_REJECTED).
        4. The proposal is known (PROPOSAL_UNKNOWN), and by our own clock its time has not run
           out (PROPOSAL_EXPIRED); the approvals that the pointer names are known
           (APPROVALS_MISSING).
        5. The pointer follows from them (reasons of `verify_pointer`), the version is screened or
           exempt (SCREENING_REQUIRED), and by our own clock the policy has not expired, whatever
           its grace (POLICY_EXPIRED), and enough approvals still count (APPROVALS_EXPIRED).
        """
        opened = Envelope.decode(envelope)
        # 1.
        claimed = Pointer.decode(opened.payload)
        self._versions.check_bytes(claimed.model, claimed.version)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            chain = self._book.read_for(unit)
            # 2. and 3.
            pointer, version = self._open(unit, chain, opened, PROMOTE, ("admin",), etag)
            # 4.
            bundle = _bundle(unit, opened, pointer)
            # 5.
            chain.newest.check_unexpired(unit.now)
            self._move(unit, chain, bundle, pointer, version)
            _check_reviewed(bundle, chain.newest, unit.now)
        return self._find(opened.payload_digest)

    def rollback(
        self, principal: str, envelope: bytes, once: RequestKey | None = None, etag: str = ""
    ) -> PointerRecord:
        """Move an alias back to a version that it pointed at before, on one signature.

        1. to 3. As in `promote`; a principal of the role `rollback` may sign too.
        4. It returns to a promotion of this alias that is not live already; for a principal that is
           no admin, to the one that `previous` finds (ROLLBACK_TARGET).
        5. The pointer follows from that (reasons of `verify_pointer`), and the version is screened
           or exempt (SCREENING_REQUIRED).
        """
        opened = Envelope.decode(envelope)
        # 1.
        claimed = Pointer.decode(opened.payload)
        self._versions.check_bytes(claimed.model, claimed.version)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            chain = self._book.read_for(unit)
            # 2. and 3.
            roles = ("admin", "rollback")
            pointer, version = self._open(unit, chain, opened, ROLLBACK, roles, etag)
            # 4.
            target = _find_target(unit.connection, pointer)
            if "admin" not in chain.newest.principal(principal).roles:
                _check_previous(unit, pointer)
            # 5.
            bundle = PointerBundle.rollback(opened, target)
            self._move(unit, chain, bundle, pointer, version)
        return self._find(opened.payload_digest)

    def get(self, model: str, alias: str) -> PointerRecord:
        """Return an alias's newest pointer. Raises SealgateError: MODEL_UNKNOWN, ALIAS_UNKNOWN."""
        with self._ledger.view() as connection:
            row = _newest(connection, model, alias)
            if row is None:
                check_model(connection, model)
                raise SealgateError(Reason.ALIAS_UNKNOWN, "the alias points at nothing")
        return pointer_record(row)

    def previous(self, model: str, alias: str) -> PointerRecord:
        """Return the move after which the alias named another version than now, for the last time.

        A service may return the alias to that, once after each promotion. Raises SealgateError:
        ALIAS_UNKNOWN, ROLLBACK_TARGET where the last move was no promotion, or there is none before
        with another version.
        """
        with self._ledger.view() as connection:
            return pointer_record(_previous(connection, model, alias))

    def history(
        self, model: str, alias: str | None = None, asked: ListQuery = FIRST_PAGE
    ) -> Page[PointerRecord]:
        """Return a page of the moves of an alias, or of all aliases of the model, newest first. A
        page ends before its bundles have more than 2 MiB, but for its first move.

        Raises SealgateError: MODEL_UNKNOWN, ALIAS_UNKNOWN for an alias that never moved, or as
        `read_page`.
        """
        scope = ["pointers", model] if alias is None else ["pointers", model, alias]
        position, query = POINTERS.c.entry, _moves(model, alias)
        with self._ledger.view() as connection:
            page = read_page(connection, query, position, asked, scope, _FIELDS, descending=True)
            if not page.records:
                check_model(connection, model)
                if alias is not None and _newest(connection, model, alias) is None:
                    raise SealgateError(Reason.ALIAS_UNKNOWN, "the alias points at nothing")
        rows, token = page.records, page.next_page_token
        if (count := fitting(len(row["bundle"]) for row in rows)) < len(rows):
            rows, token = rows[:count], asked.token(rows[count - 1]["entry"], *scope)
        return Page(rows, token).map(pointer_record)

    def _find(self, digest: str) -> PointerRecord:
        with self._ledger.view() as connection:
            query = select(POINTERS).where(POINTERS.c.digest == digest)
            return pointer_record(connection.execute(query).mappings().one())

    def _open(
        self,
        unit: UnitOfWork,
        chain: PolicyChain,
        opened: Envelope,
        action: str,
        roles: tuple[str, ...],
        etag: str,
    ) -> tuple[Pointer, RowMapping]:
        """The steps 2 and 3 of a move; return the pointer and the row of its version."""
        # 2.
        pointer = open_own(unit, opened, Pointer, chain.current(unit.now), roles)
        if pointer.action != action:
            raise SealgateError(
                Reason.POINTER_INVALID, f"a {pointer.action} where a {action} belongs"
            )
        chain.check_named(pointer.policy)
        # 3.
        connection = unit.connection
        version = check_version(connection, pointer.model, pointer.version, pointer.digest)
        newest = _newest(connection, pointer.model, pointer.alias)
        check_etag(etag, pointer_record(newest).etag if newest else "")
        check_sequence(connection, pointer.model, pointer.alias, pointer.sequence)
        check_not_rejected(unit, pointer.proposal)
        return pointer, version

    def _move(
        self,
        unit: UnitOfWork,
        chain: PolicyChain,
        bundle: PointerBundle,
        pointer: Pointer,
        version: RowMapping,
    ) -> None:
        policy = chain.current(unit.now)
        policy.check_screening(pointer.model, Manifest.decode(bytes(version["manifest"])).screened)
        verify_pointer(bundle, chain.by_digest, policy, version["principal"], unit.now)
        unit.add(
            POINTER_MOVED,
            model=pointer.model,
            alias=pointer.alias,
            sequence=pointer.sequence,
            digest=bundle.pointer.payload_digest,
            action=pointer.action,
            version=pointer.version,
            version_digest=pointer.digest,
            bundle=bundle.encode(),
        )
        self._freshness.renew(unit, policy)
        unit.commit()


_LATER = POINTERS.alias()
_IS_NEWEST = ~(
    select(_LATER.c.entry)
    .where(
        _LATER.c.model == POINTERS.c.model,
        _LATER.c.alias == POINTERS.c.alias,
        _LATER.c.sequence > POINTERS.c.sequence,
    )
    .exists()
)
_FIELDS = {
    "newest": presence(_IS_NEWEST),
    "sequence": number(POINTERS.c.sequence),
    "version": number(POINTERS.c.version),
    "digest": text(POINTERS.c.version_digest),
    "action": text(POINTERS.c.action),
    "admin": text(POINTERS.c.principal),
    "time": time(POINTERS.c.time),
}


def _moves(model: str, alias: str | None) -> Select[Any]:
    query = select(POINTERS).where(POINTERS.c.model == model)
    return query if alias is None else query.where(POINTERS.c.alias == alias)


def _newest(connection: Connection, model: str, alias: str) -> RowMapping | None:
    query = _moves(model, alias).order_by(POINTERS.c.sequence.desc()).limit(1)
    return connection.execute(query).mappings().one_or_none()


def _previous(connection: Connection, model: str, alias: str) -> RowMapping:
    newest = _newest(connection, model, alias)
    if newest is None:
        raise SealgateError(Reason.ALIAS_UNKNOWN, "the alias points at nothing")
    if newest["action"] != PROMOTE:
        raise SealgateError(Reason.ROLLBACK_TARGET, "it was rolled back already, since a promotion")
    other = POINTERS.c.version_digest != newest["version_digest"]
    query = _moves(model, alias).where(other).order_by(POINTERS.c.sequence.desc()).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SealgateError(Reason.ROLLBACK_TARGET, "the alias has never named another version")
    return row


def _check_previous(unit: UnitOfWork, pointer: Pointer) -> None:
    """Check that a service returns to the previous version, as the log has it.

    Raises SealgateError: ROLLBACK_TARGET; LOG_INCONSISTENT where a move since then was edited or
    deleted.
    """
    previous = _previous(unit.connection, pointer.model, pointer.alias)
    since = _moves(pointer.model, pointer.alias).where(POINTERS.c.sequence >= previous["sequence"])
    rows = unit.connection.execute(since.order_by(POINTERS.c.sequence)).mappings().all()
    if [row["sequence"] - previous["sequence"] for row in rows] != list(range(len(rows))):
        raise SealgateError(Reason.LOG_INCONSISTENT, "a move is missing")
    for row in rows:
        unit.check_logged(POINTER_MOVED, dict(row))
    if pointer.digest != previous["version_digest"]:
        raise SealgateError(
            Reason.ROLLBACK_TARGET, "a service returns to the previous version alone"
        )


def _check_reviewed(bundle: PointerBundle, policy: Policy, now: datetime) -> None:
    """Raises SealgateError(APPROVALS_EXPIRED) where the pointer's own time is too kind to them."""
    end = review_end(bundle, policy)
    if end is not None and now > end:
        raise SealgateError(Reason.APPROVALS_EXPIRED, format_time(end))


def _bundle(unit: UnitOfWork, opened: Envelope, pointer: Pointer) -> PointerBundle:
    row, proposal = find_proposal(unit.connection, pointer.proposal)
    if unit.now >= parse_time(proposal.not_after):
        raise SealgateError(Reason.PROPOSAL_EXPIRED, proposal.not_after)
    query = select(APPROVALS.c.digest, APPROVALS.c.envelope).where(
        APPROVALS.c.proposal == pointer.proposal
    )
    stored = {known.digest: bytes(known.envelope) for known in unit.connection.execute(query)}
    if not stored.keys() >= set(pointer.approvals):
        raise SealgateError(
            Reason.APPROVALS_MISSING, "an approval that is named was never handed in"
        )
    approvals = tuple(Envelope.decode(stored[digest]) for digest in pointer.approvals)
    return PointerBundle(opened, Envelope.decode(bytes(row["envelope"])), approvals)


def _find_target(connection: Connection, pointer: Pointer) -> PointerBundle:
    here = (
        POINTERS.c.digest == pointer.returns_to,
        POINTERS.c.model == pointer.model,
        POINTERS.c.alias == pointer.alias,
        POINTERS.c.action == PROMOTE,
    )
    bundle = connection.scalar(select(POINTERS.c.bundle).where(*here))
    if bundle is None:
        raise SealgateError(Reason.ROLLBACK_TARGET, "no such promotion of this alias")
    target = PointerBundle.decode(bytes(bundle))
    newest = _newest(connection, pointer.model, pointer.alias)
    if newest is not None and newest["version_digest"] == pointer.digest:
        live = PointerBundle.decode(bytes(newest["bundle"]))
        if _share(live) == _share(target):
            raise SealgateError(Reason.ROLLBACK_TARGET, "that is what the alias names already")
    return target


def _share(bundle: PointerBundle) -> int:
    return Proposal.decode(bundle.proposal.payload).share


def pointer_record(row: RowMapping) -> PointerRecord:
    """Return what the row of a move says."""
    bundle = bytes(row["bundle"])
    return PointerRecord(
        model=row["model"],
        alias=row["alias"],
        sequence=row["sequence"],
        digest=row["digest"],
        action=row["action"],
        version=row["version"],
        version_digest=row["version_digest"],
        admin=row["principal"],
        time=row["time"],
        reason=_reason(bundle),
        bundle=bundle,
        entry=row["entry"],
    )


@lru_cache(_KEPT_REASONS)
def _reason(bundle: bytes) -> str:
    """The stated reason of a move. To read a bundle takes longer than to find it."""
    return Pointer.decode(PointerBundle.decode(bundle).pointer.payload).reason
