"""The chain of policies, followed from the root keys that the operator configured.

The database is not trusted: if its content changes, the chain is verified again.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, select

from registry.policy.freshness import FreshnessKeeper
from registry.state.events import PASSKEY_USED, POINTER_MOVED, POLICY_ACCEPTED, VERSION_REGISTERED
from registry.state.logged_state import NO_POLICY
from registry.state.records import check_etag, etag
from registry.state.schema import LOG, POLICIES
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.webauthn import Assertion, check_counter
from sealgate.trust.policy import Policy, Withdrawal, next_policy, open_policy, open_policy_history
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.base import Statement
from sealgate.trust.transparency import open_checkpoint, origin_of


@dataclass(frozen=True, slots=True)
class PinnedRoot:
    """The keys, by key id, of which `threshold` must have signed the first policy."""

    keys: Mapping[str, PublicKey]
    threshold: int


@dataclass(frozen=True, slots=True)
class PolicyChain:
    """Policies with their envelopes, oldest first. Raises SealgateError(POLICY_INVALID) for
    none.
    """

    policies: tuple[Policy, ...]
    envelopes: tuple[bytes, ...]
    by_digest: Mapping[str, Policy] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.policies:
            raise SealgateError(Reason.POLICY_INVALID, "no policy has been accepted yet")
        table = {policy.digest: policy for policy in self.policies}
        object.__setattr__(self, "by_digest", table)

    @property
    def etag(self) -> str:
        """Another for each policy."""
        return etag("policy", self.newest.digest)

    @property
    def newest(self) -> Policy:
        """The newest policy, expired or not."""
        return self.policies[-1]

    def current(self, now: datetime) -> Policy:
        """Return the newest policy, if it is still valid. Raises SealgateError(POLICY_EXPIRED)."""
        self.newest.check_standing(now)
        return self.newest

    def check_named(self, digest: str) -> None:
        """Check that a document names the newest policy.

        Raises SealgateError: POLICY_ROLLED_BACK for an older one, POLICY_INVALID for an unknown
        one.
        """
        if digest not in self.by_digest:
            raise SealgateError(Reason.POLICY_INVALID, "a document names an unknown policy")
        if digest != self.newest.digest:
            raise SealgateError(Reason.POLICY_ROLLED_BACK, "a document names an older policy")


class PolicyBook:
    """Reads the chain from the database, and follows it."""

    def __init__(self, root: PinnedRoot) -> None:
        self._root = root
        self._followed: PolicyChain | None = None

    def read(self, connection: Connection) -> PolicyChain:
        """Return the chain. Raises SealgateError: POLICY_INVALID for none, or as it fails to
        follow.
        """
        query = select(POLICIES.c.envelope).order_by(POLICIES.c.version)
        envelopes = tuple(bytes(envelope) for envelope in connection.scalars(query))
        followed = self._followed
        if followed is None or followed.envelopes != envelopes:
            followed = PolicyChain(self._follow(envelopes), envelopes)
            self._followed = followed
        return followed

    def read_for(self, unit: UnitOfWork) -> PolicyChain:
        """Return the chain under which a change is made: it ends with the log's newest policy.

        Raises SealgateError: as `read`, LOG_INCONSISTENT where a policy was deleted, or added
        without its entry.
        """
        chain = self.read(unit.connection)
        if (chain.newest.version, chain.newest.digest) != unit.logged().policy:
            raise SealgateError(Reason.LOG_INCONSISTENT, "the newest policy is not the log's")
        return chain

    def open_next(self, unit: UnitOfWork, envelope: Envelope) -> Policy:
        """Return the policy that `envelope` adds to the chain. Raises SealgateError."""
        if unit.logged().policy == NO_POLICY:
            return open_policy(envelope, self._root.keys, self._root.threshold, unit.now)
        return next_policy(self.read_for(unit).newest, envelope, unit.now)

    def _follow(self, envelopes: tuple[bytes, ...]) -> tuple[Policy, ...]:
        if not envelopes:
            return ()
        opened = [Envelope.decode(envelope) for envelope in envelopes]
        return open_policy_history(opened, self._root.keys, self._root.threshold)


class Policies:
    """The use cases around the policy."""

    def __init__(self, ledger: Ledger, book: PolicyBook, freshness: FreshnessKeeper) -> None:
        self._ledger = ledger
        self._book = book
        self._freshness = freshness

    def accept(
        self, principal: str, envelope: bytes, once: RequestKey | None = None, etag: str = ""
    ) -> Policy:
        """Add a policy to the chain and sign what is live under it.

        1. The envelope is in its canonical form (DOCUMENT_MALFORMED).
        2. The chain has the etag, if one is given (ETAG_STALE).
        3. It follows from the pinned root keys, or from the newest policy (reasons of
           `open_policy` and `next_policy`).
        4. Statements that it keeps valid although their key is withdrawn were in the log before the
           place that it names (POLICY_INVALID).
        5. It names this registry's log and its key, or the next one with the present one among the
           former, and gives the freshness key or the next one the role `freshness`
           (POLICY_INVALID): a registry could not go on under another one.
        6. No log goes back to a key that was replaced, and the registry log's former keys vouch for
           every checkpoint that they signed (POLICY_INVALID): auditors would refuse the one, and
           the next start the other.
        """
        # 1.
        opened = Envelope.decode(envelope)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            # 2.
            if etag:
                check_etag(etag, self._book.read_for(unit).etag)
            # 3.
            policy = self._book.open_next(unit, opened)
            # 4.
            for withdrawal in policy.withdrawn.keys.values():
                _check_stands(unit, withdrawal)
            # 5.
            log = self._ledger.log
            if policy.is_answer_log(log.origin) or not log.follows(policy.log_key(log.origin)):
                raise SealgateError(Reason.POLICY_INVALID, "it names another registry log or key")
            self._freshness.check_key(policy)
            # 6.
            begun = unit.logged().policy != NO_POLICY
            earlier = self._book.read_for(unit).policies if begun else ()
            if earlier:
                _check_log_keys(policy, earlier)
                if policy.log_key(log.origin) != earlier[-1].log_key(log.origin):
                    _check_vouched(unit.connection, policy.log_key(log.origin))
            unit.add(
                POLICY_ACCEPTED, version=policy.version, digest=policy.digest, envelope=envelope
            )
            self._freshness.renew(unit, policy, *earlier[-1:])
            unit.commit()
        return self.chain().by_digest[opened.payload_digest]

    def chain(self) -> PolicyChain:
        """Return all policies, oldest first. Raises SealgateError(POLICY_INVALID) before the
        first.
        """
        with self._ledger.view() as connection:
            return self._book.read(connection)

    def current(self) -> Policy:
        """Return the newest policy, if it is still valid. Raises SealgateError: POLICY_INVALID,
        POLICY_EXPIRED.
        """
        return self.chain().current(self._ledger.clock())


def _check_log_keys(policy: Policy, earlier: Sequence[Policy]) -> None:
    last: dict[str, str] = {}
    for each in earlier:
        last |= _keys_of_logs(each)
    used = {vkey for each in earlier for vkey in _keys_of_logs(each).values()}
    for origin, vkey in _keys_of_logs(policy).items():
        if vkey in used and last[origin] != vkey:
            detail = f"{origin} goes back to a key that was replaced: make a new one"
            raise SealgateError(Reason.POLICY_INVALID, detail)


def _keys_of_logs(policy: Policy) -> dict[str, str]:
    return {origin_of(vkey): vkey for vkey in (policy.registry_log, *policy.answer_logs)}


def _check_vouched(connection: Connection, vkey: str) -> None:
    for note in connection.scalars(select(LOG.checkpoints.c.note)):
        try:
            open_checkpoint(note, vkey)
        except SealgateError as error:
            detail = "`former_logs` lacks a key of the registry's log, or states too small a size"
            raise SealgateError(Reason.POLICY_INVALID, detail) from error


def _check_stands(unit: UnitOfWork, withdrawal: Withdrawal) -> None:
    """Hold what a withdrawn key still vouches for against the log."""
    for digest in withdrawal.stands:
        if min(_entries(unit, digest), default=withdrawal.since) >= withdrawal.since:
            detail = f"{digest} came after {withdrawal.since}, or never"
            raise SealgateError(Reason.POLICY_INVALID, detail)


def _entries(unit: UnitOfWork, digest: str) -> Iterator[int]:
    """Return the log entries of pointers and versions of that digest."""
    for event in (POINTER_MOVED, VERSION_REGISTERED):
        query = select(event.table).where(event.table.c.digest == digest)
        for row in unit.connection.execute(query).mappings():
            unit.check_logged(event, dict(row))
            yield row["entry"]


_S = TypeVar("_S", bound=Statement)


def check_answer_log(policy: Policy, origin: str) -> None:
    """Raises SealgateError(LOG_UNKNOWN) where the policy names no such answer log."""
    if not policy.is_answer_log(origin):
        raise SealgateError(Reason.LOG_UNKNOWN, "not an answer log of the policy")


def open_own(
    unit: UnitOfWork, envelope: Envelope, kind: type[_S], policy: Policy, roles: Collection[str]
) -> _S:
    """Return a statement whose author is the caller: nobody hands in what another has signed.

    Signature counters of passkeys are recorded with the change. Raises SealgateError:
    SIGNER_MISMATCH, WEBAUTHN_COUNTER, and like `open_statement`.
    """
    statement = open_statement(envelope, kind, policy, roles)
    if statement.author != unit.principal:
        raise SealgateError(
            Reason.SIGNER_MISMATCH, f"{unit.principal} submitted a document signed by someone else"
        )
    for keyid, signature in envelope.signatures:
        if keyid in policy.webauthn.keys:
            _note_counter(unit, keyid, Assertion.decode(signature).counter, envelope)
    return statement


def _note_counter(unit: UnitOfWork, keyid: str, counter: int, envelope: Envelope) -> None:
    check_counter(unit.logged().passkey_counters.get(keyid, 0), counter)
    if counter:
        unit.add(PASSKEY_USED, keyid=keyid, counter=counter, document=envelope.payload_digest)
