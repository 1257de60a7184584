"""Trust state: the verified policies and the verified statement of what is live.

Both are verified from the root keys in the process's own configuration. The database that supplies
the documents is not trusted: it can withhold them, which freshness and grace bound in time, but it
can neither make nor replay them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from inference.engine.rollback_guard import HighWaterMark, RollbackGuard
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy, open_policy_history
from sealgate.trust.statements import Freshness, PointerBundle, verify_freshness
from sealgate.trust.times import parse_time

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """The root keys by key id, `threshold` of which sign the first policy."""

    root_keys: Mapping[str, PublicKey]
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.root_keys):
            raise ValueError("the threshold must lie between 1 and the number of root keys")


class UntrustedSnapshot(Protocol):
    """The registry's state at one moment, from a database that is not trusted."""

    @property
    def policies(self) -> Sequence[Envelope]:
        """The whole chain, oldest first."""
        ...

    @property
    def bundles(self) -> Mapping[Place, PointerBundle]:
        """The newest pointer of each (model, alias), with all its proofs."""
        ...

    @property
    def freshness(self) -> Envelope | None:
        """The newest statement of what is live and what is revoked."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Every policy of the chain, oldest first, and the rollback guard after the newest."""

    history: tuple[Policy, ...]
    seen: RollbackGuard

    @property
    def current(self) -> Policy:
        return self.history[-1]

    @property
    def by_digest(self) -> dict[str, Policy]:
        return {policy.digest: policy for policy in self.history}


@dataclass(frozen=True, slots=True)
class TrustState:
    """The policies and the freshness statement under them; `now` was fixed once."""

    policies: PolicyState
    freshness: Freshness
    seen: RollbackGuard
    now: datetime

    @property
    def current(self) -> Policy:
        return self.policies.current

    @property
    def until(self) -> float:
        """When what the statement covers expires: its end, plus the grace.

        In seconds of the epoch, which no policy's number can overflow.
        """
        return parse_time(self.freshness.expires).timestamp() + self.current.rules.grace_seconds


def establish_policies(
    anchor: TrustAnchor, envelopes: Sequence[Envelope], seen: RollbackGuard
) -> PolicyState:
    """Verify the chain of policies from the root keys.

    1. Each policy is signed by the previous root and by its own; the first by the anchor's
       (SIGNATURE_INVALID, THRESHOLD_NOT_MET, POLICY_INVALID).
    2. The newest is not older than the newest seen, and the one seen is in the chain
       (POLICY_ROLLED_BACK).

    The newest may have expired: nothing is live under it, but its signers may still publish its
    successor.
    """
    # 1.
    history = open_policy_history(envelopes, anchor.root_keys, anchor.threshold)
    newest = history[-1]
    # 2.
    after = seen.with_policy(
        HighWaterMark(newest.version, newest.digest), parse_time(newest.issued)
    )
    if seen.policy and seen.policy.digest not in {policy.digest for policy in history}:
        raise SealgateError(Reason.POLICY_ROLLED_BACK, "the chain is not the one seen before")
    return PolicyState(history, after)


def establish(policies: PolicyState, statement: Envelope | None, now: datetime) -> TrustState:
    """Verify the freshness statement.

    1. It exists and is signed by a freshness service of the current policy; neither has expired.
    2. It is not older than the newest seen.

    Raises SealgateError: POINTER_STALE, or as `verify_freshness` does.
    """
    # 1.
    if statement is None:
        raise SealgateError(Reason.POINTER_STALE, "there is no statement of freshness")
    now = policies.seen.now(now)
    freshness = verify_freshness(statement, policies.current, now)
    # 2.
    seen = policies.seen.with_freshness(
        HighWaterMark(freshness.sequence, statement.payload_digest),
        parse_time(freshness.issued),
        frozenset(freshness.revoked),
        frozenset(freshness.rejected),
    )
    return TrustState(policies, freshness, seen, seen.now(now))
