"""The freshness statement, in which an online key confirms the newest pointers and revocations.

It is signed in the transaction of every move, revocation, rejection and policy, and regularly in
between. The key signs only what continues its last statement, so an edited database can't have an
older state confirmed. It signs only what the log records, so pointers, revocations and rejections
that somebody wrote into the tables are never confirmed.

A rejected proposal leaves the statement when its alias moves: from then on the statement itself
names a later pointer, and the registry takes none that rests on the proposal.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection, func, insert, select, update

from registry.state.logged_state import unmoved_rejections
from registry.state.schema import (
    FRESHNESS,
    POINTERS,
    PROPOSAL_WITHDRAWALS,
    PROPOSALS,
    REJECTIONS,
    REVOCATIONS,
)
from registry.state.unit_of_work import Ledger, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Freshness, sign_statement
from sealgate.trust.times import CLOCK_SKEW, format_time, parse_time
from sealgate.trust.transparency import RotatingSigner

_SLOT = 1

Pointers = tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class SignedFreshness:
    """A statement and its envelope."""

    statement: Freshness
    envelope: bytes


@dataclass(frozen=True, slots=True)
class LiveState:
    """The content of a statement: each alias's newest pointer, the revocations, and the proposals
    that were rejected since their alias moved.
    """

    pointers: Pointers
    revoked: tuple[str, ...]
    rejected: tuple[str, ...]

    @classmethod
    def of(cls, statement: Freshness) -> "LiveState":
        return cls(statement.pointers, statement.revoked, statement.rejected)


class FreshnessKeeper:
    """Signs freshness statements with `signer`, a key of a principal of the role `freshness`; of a
    `RotatingSigner`, with the next key as soon as the policy lists it.
    """

    def __init__(self, ledger: Ledger, signer: Signer) -> None:
        self._ledger = ledger
        self._signers = signer.signers if isinstance(signer, RotatingSigner) else (signer,)
        self._last: SignedFreshness | None = None

    @property
    def last(self) -> SignedFreshness | None:
        """The newest statement that was signed or checked here."""
        return self._last

    def check_key(self, policy: Policy) -> None:
        """Check that the policy gives the key its role. Raises SealgateError(POLICY_INVALID)."""
        self.signer_for(policy)

    def signer_for(self, policy: Policy) -> Signer:
        """The key to which the policy gives the role: the next one, where it lists that already.

        Raises SealgateError(POLICY_INVALID) for none.
        """
        for signer in reversed(self._signers):
            holder = policy.holder(signer.public.keyid)
            if holder is not None and "freshness" in holder.roles:
                return signer
        raise SealgateError(Reason.POLICY_INVALID, "the freshness key has not the role")

    def is_due(self, connection: Connection, policy: Policy) -> bool:
        """Say whether a quarter of the statement's time has gone, there is none by this key, or it
        was signed under a clock that was wrong: nobody believes one from the future.
        """
        statement = self._stored(connection, policy)
        if statement is None or not self._is_own(connection, policy):
            return True
        issued, expires = parse_time(statement.issued), parse_time(statement.expires)
        longest = timedelta(seconds=policy.rules.freshness_seconds)
        now = self._ledger.clock()
        return now >= issued + min(expires - issued, longest) / 4 or now < issued - CLOCK_SKEW

    def renew(self, unit: UnitOfWork, policy: Policy, *before: Policy) -> None:
        """Sign what is live now, in the transaction of `unit`. `before` is the policy that this
        change succeeds, if it does: the last statement may be by a key that it alone lists.

        Raises SealgateError: LOG_INCONSISTENT when an alias's pointer, a revocation or a rejection
        of the last statement is gone or older, or they are not what the log records;
        POLICY_INVALID where the policy took the key's role away.
        """
        signer = self.signer_for(policy)
        last = self._last.statement if self._last is not None else None
        # A commit that was reported as failed may have reached the database all the same.
        known = (last, self._stored(unit.connection, policy, *before))
        previous = max(filter(None, known), key=lambda item: item.sequence, default=None)
        state = newest_state(unit.connection)
        if previous is not None:
            _check_goes_forward(previous, state)
            if not set(previous.rejected) <= unit.logged().rejected.keys():
                raise SealgateError(Reason.LOG_INCONSISTENT, "a rejection is gone")
        _check_logged(unit, state)
        expires = unit.now + timedelta(seconds=policy.rules.freshness_seconds)
        statement = Freshness(
            sequence=previous.sequence + 1 if previous else 1,
            pointers=state.pointers,
            revoked=state.revoked,
            rejected=state.rejected,
            issued=format_time(unit.now),
            expires=format_time(expires),
        )
        envelope = sign_statement(statement, signer).encode()
        row = {"sequence": statement.sequence, "envelope": envelope}
        here = FRESHNESS.c.slot == _SLOT
        if unit.connection.execute(update(FRESHNESS).where(here), row).rowcount == 0:
            unit.connection.execute(insert(FRESHNESS), {"slot": _SLOT, **row})
        unit.check_before_commit(lambda: stored_envelope(unit.connection) == envelope)
        unit.afterwards(lambda: self._remember(SignedFreshness(statement, envelope)))

    def check_state(self, connection: Connection, policy: Policy) -> None:
        """Check that the stored statement is by a key of the policy's, and says what the tables
        say; remember it.

        Raises SealgateError(LOG_INCONSISTENT).
        """
        statement, envelope = self._stored(connection, policy), stored_envelope(connection)
        found = newest_state(connection)
        # One of an earlier release names every proposal that was ever rejected.
        if statement is None or LiveState.of(statement) not in (
            found,
            replace(found, rejected=ended_proposals(connection)),
        ):
            raise SealgateError(
                Reason.LOG_INCONSISTENT, "the freshness statement says something else"
            )
        if self._last is None and envelope is not None:
            # From here on, deleting the stored one does not let the key start over.
            self._remember(SignedFreshness(statement, envelope))

    def _remember(self, signed: SignedFreshness) -> None:
        self._last = signed

    def _is_own(self, connection: Connection, policy: Policy) -> bool:
        envelope = stored_envelope(connection)
        signers = Envelope.decode(envelope).signatures if envelope is not None else ()
        return self.signer_for(policy).public.keyid in {keyid for keyid, _ in signers}

    def _stored(self, connection: Connection, *policies: Policy) -> Freshness | None:
        """The stored statement, which a key signed to which one of the policies gives the role.

        A key of ours that none of them lists was replaced, and may be a thief's by now.
        """
        envelope = stored_envelope(connection)
        if envelope is None:
            return None
        opened = Envelope.decode(envelope)
        keys = {
            keyid: policy.keys[keyid]
            for policy in policies
            for person in policy.with_role("freshness")
            for keyid in person.keys
        }
        try:
            dsse.verify(opened, Freshness.PAYLOAD_TYPE, keys)
        except SealgateError as error:
            raise SealgateError(
                Reason.LOG_INCONSISTENT, "a freshness statement not ours"
            ) from error
        return Freshness.decode(opened.payload)


def stored_envelope(connection: Connection) -> bytes | None:
    """Return the newest freshness envelope, if there is one."""
    envelope = connection.scalar(select(FRESHNESS.c.envelope).where(FRESHNESS.c.slot == _SLOT))
    return None if envelope is None else bytes(envelope)


def newest_envelope(connection: Connection, last: SignedFreshness | None) -> bytes | None:
    """Return the newer of the stored envelope and `last`, the newest that was known before.

    So whoever puts the stored one back cannot hide what was revoked here since.
    """
    stored = stored_envelope(connection)
    if last is None or stored == last.envelope:
        return stored
    try:
        number = Freshness.decode(Envelope.decode(stored or b"").payload).sequence
    except SealgateError:
        return last.envelope
    return stored if number > last.statement.sequence else last.envelope


def newest_state(connection: Connection) -> LiveState:
    """Return what the tables say is live, revoked and rejected, as a statement has it."""
    table = POINTERS
    newest = (
        select(table.c.model, table.c.alias, func.max(table.c.sequence).label("sequence"))
        .group_by(table.c.model, table.c.alias)
        .subquery()
    )
    query = select(table.c.model, table.c.alias, table.c.sequence, table.c.digest).join(
        newest,
        (table.c.model == newest.c.model)
        & (table.c.alias == newest.c.alias)
        & (table.c.sequence == newest.c.sequence),
    )
    pointers = [
        (f"{row.model}/{row.alias}", int(row.sequence), row.digest)
        for row in connection.execute(query)
    ]
    revoked = connection.scalars(select(REVOCATIONS.c.version_digest).distinct())
    rejected = ended_proposals(connection, unmoved=True)
    return LiveState(tuple(sorted(pointers)), tuple(sorted(revoked)), rejected)


def ended_proposals(
    connection: Connection, principal: str = "", unmoved: bool = False
) -> tuple[str, ...]:
    """The rejected and withdrawn proposals, in order of their digests; of one who ended them, where
    `principal` is given. `unmoved` are those whose alias has not moved since.
    """
    later = (
        select(POINTERS.c.entry)
        .where(
            POINTERS.c.model == PROPOSALS.c.model,
            POINTERS.c.alias == PROPOSALS.c.alias,
        )
        .correlate(PROPOSALS)
    )
    found: set[str] = set()
    for table in (REJECTIONS, PROPOSAL_WITHDRAWALS):
        query = select(table.c.proposal)
        if unmoved:
            moved = later.where(POINTERS.c.entry > table.c.entry).correlate(PROPOSALS, table)
            query = query.join(PROPOSALS, PROPOSALS.c.digest == table.c.proposal)
            query = query.where(~moved.exists())
        if principal:
            query = query.where(table.c.principal == principal)
        found.update(connection.scalars(query))
    return tuple(sorted(found))


def _check_logged(unit: UnitOfWork, state: LiveState) -> None:
    """Hold what the tables say, with what this change adds, against what the log records."""
    logged, added = unit.logged(), unit.told()
    newest = {**logged.pointers, **added.pointers}
    if {place: (sequence, digest) for place, sequence, digest in state.pointers} != newest:
        raise SealgateError(Reason.LOG_INCONSISTENT, "the pointers are not those of the log")
    if set(state.revoked) != logged.revoked | added.revoked:
        raise SealgateError(Reason.LOG_INCONSISTENT, "the revocations are not those of the log")
    if set(state.rejected) != unmoved_rejections(logged, added):
        raise SealgateError(Reason.LOG_INCONSISTENT, "the rejections are not those of the log")


def _check_goes_forward(previous: Freshness, state: LiveState) -> None:
    now = {place: (sequence, digest) for place, sequence, digest in state.pointers}
    for place, sequence, digest in previous.pointers:
        found = now.get(place, (0, ""))
        if found[0] < sequence or (found[0] == sequence and found[1] != digest):
            raise SealgateError(Reason.LOG_INCONSISTENT, f"{place} went back from {sequence}")
    if not set(previous.revoked) <= set(state.revoked):
        raise SealgateError(Reason.LOG_INCONSISTENT, "a revocation is gone")
