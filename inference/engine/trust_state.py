"""Trust state: the verified policies and freshness statement, and the newest ever verified.

Policies and statement are verified from the root keys in the process's own configuration. The
database that supplies the documents is not trusted: it can withhold them, which freshness and grace
bound in time, but it can neither make nor replay them.

A database that was restored, or stolen and replayed, shows statements that were all valid once
(the rollback and freeze attacks of The Update Framework, section 5.3 of its specification). So the
rollback guard keeps, outside the database, the highest policy version, freshness statement and
pointer sequences that the engine has verified, the latest signing time, every version that was ever
revoked, and every proposal that was ever rejected. Its file is canonical JSON and is replaced as a
whole; one engine writes it. If it is lost, the engine starts from its root keys, as if new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

from sealgate.files import open_regular_file, replace_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy, open_policy_history
from sealgate.trust.statements import Freshness, PointerBundle, is_revoked, verify_freshness
from sealgate.trust.times import format_time, parse_time

TYPE = "sealgate/seen/v1"
_LARGEST_FILE = 1 << 24
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """A number that only grows, and the digest of the document that carried it."""

    number: int
    digest: str

    def then(self, later: "HighWaterMark", reason: Reason) -> "HighWaterMark":
        """`later`, unless it is lower, or another document with the same number (refused)."""
        if later.number < self.number:
            raise SealgateError(reason, f"{later.number} after {self.number}")
        if later.number == self.number and later.digest != self.digest:
            raise SealgateError(reason, f"two documents are number {later.number}")
        return later


@dataclass(frozen=True, slots=True)
class RollbackGuard:
    """The newest documents that the engine has verified. Each new one makes a new, frozen value."""

    policy: HighWaterMark | None = None
    freshness: HighWaterMark | None = None
    pointers: Mapping[str, HighWaterMark] = field(default_factory=lambda: MappingProxyType({}))
    revoked: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    time: datetime = _LONG_AGO

    def now(self, clock: datetime) -> datetime:
        """The time to use in checks: the clock's, or the latest signed time if that is later."""
        return max(clock, self.time)

    def is_revoked(self, model: str, digest: str) -> bool:
        """Say whether a model's version was ever revoked."""
        return is_revoked(self.revoked, model, digest)

    def with_policy(self, mark: HighWaterMark, issued: datetime) -> "RollbackGuard":
        """Raises SealgateError(POLICY_ROLLED_BACK)."""
        after = self.policy.then(mark, Reason.POLICY_ROLLED_BACK) if self.policy else mark
        return replace(self, policy=after, time=max(self.time, issued))

    def with_freshness(
        self,
        mark: HighWaterMark,
        issued: datetime,
        revoked: frozenset[str],
        rejected: frozenset[str] = frozenset(),
    ) -> "RollbackGuard":
        """Raises SealgateError(POINTER_STALE)."""
        after = self.freshness.then(mark, Reason.POINTER_STALE) if self.freshness else mark
        time = max(self.time, issued)
        seen = replace(self, freshness=after, time=time, revoked=self.revoked | revoked)
        return replace(seen, rejected=self.rejected | rejected)

    def with_pointer(self, name: str, mark: HighWaterMark) -> "RollbackGuard":
        """`name` is `model/alias`. Raises SealgateError(SEQUENCE_STALE)."""
        before = self.pointers.get(name)
        after = before.then(mark, Reason.SEQUENCE_STALE) if before else mark
        return replace(self, pointers=MappingProxyType({**self.pointers, name: after}))

    def encode(self) -> bytes:
        """Return the canonical JSON; without `rejected` where nothing was, as it was at first."""
        rejected = {"rejected": sorted(self.rejected)} if self.rejected else {}
        return canonical.encode(
            {
                **rejected,
                "type": TYPE,
                "policy": _mark_value(self.policy),
                "freshness": _mark_value(self.freshness),
                "pointers": {name: _mark_value(mark) for name, mark in self.pointers.items()},
                "revoked": sorted(self.revoked),
                "time": format_time(self.time),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
        names = ("policy", "freshness", "pointers", "revoked", "time")
        document = fields.mapping(canonical.decode(data))
        top = fields.record(document, (*names, *({"rejected"} & document.keys())), TYPE)
        pointers = fields.mapping(top["pointers"]).items()
        return cls(
            policy=_mark(top["policy"]),
            freshness=_mark(top["freshness"]),
            pointers=MappingProxyType(
                {name: mark for name, value in pointers if (mark := _mark(value))}
            ),
            revoked=_digests(top["revoked"]),
            rejected=_digests(top.get("rejected", [])),
            time=parse_time(top["time"]),
        )


class RollbackGuardFile:
    """The rollback guard on disk."""

    def __init__(self, path: Path, seen: RollbackGuard) -> None:
        self._path = path
        self.seen = self._saved = seen

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the file, or begin without a memory if there is none.

        Raises: DOCUMENT_MALFORMED for a damaged file; OSError for an unreadable one.
        """
        try:
            with open_regular_file(path) as file:
                data = file.read(_LARGEST_FILE)
        except FileNotFoundError:
            return cls(path, RollbackGuard())
        try:
            return cls(path, RollbackGuard.decode(data))
        except SealgateError as refusal:
            detail = f"{path}, the memory of what was seen, is damaged: put its copy back"
            raise SealgateError(refusal.reason, f"{detail} ({refusal.detail})") from refusal

    def copy(self, path: Path) -> "RollbackGuardFile":
        """A copy that begins with the same memory and is saved at `path`."""
        return RollbackGuardFile(path, self.seen)

    def save(self, seen: RollbackGuard) -> None:
        """Save `seen` durably, before anyone acts on it. Raises OSError; even then, this process
        remembers it.
        """
        self.seen = seen
        if seen == self._saved:
            return
        replace_file(self._path, seen.encode())
        self._saved = seen


def _digests(value: Any) -> frozenset[str]:
    return frozenset(check_digest(item) for item in fields.items(value))


def _mark_value(mark: HighWaterMark | None) -> dict[str, Any] | None:
    return {"number": mark.number, "digest": mark.digest} if mark else None


def _mark(value: Any) -> HighWaterMark | None:
    if value is None:
        return None
    item = fields.record(value, ("number", "digest"))
    return HighWaterMark(fields.integer(item["number"], least=1), check_digest(item["digest"]))


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
        """The end of the statement's coverage: its expiry, plus the grace.

        In seconds of the epoch, which no number in a policy can overflow.
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
