"""Statements that pass between gateways and engines.

An engine is shown a pointer with its documents, and the statement of what is newest. A separate
engine signs how many requests it ran. Auditors hold that against the answer log: an answer that the
engine counted and nobody recorded left by another way than through the gateway.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, dsse, fields
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import base as form
from sealgate.trust.statements.base import Check, Statement
from sealgate.trust.statements.types import Freshness
from sealgate.trust.times import CLOCK_SKEW, parse_time

_REVOKED_CONTEXT = "sealgate/revoked-of-model/v1"
ENGINE = "engine"
"""The role of a principal whose key signs counts."""

INSTANCE_BYTES = 16


def verify_freshness(envelope: Envelope, policy: Policy, now: datetime) -> Freshness:
    """Return the statement of what is live now.

    1. The policy is still valid (POLICY_EXPIRED).
    2. The payload is a freshness statement (SIGNATURE_INVALID for another type,
       DOCUMENT_MALFORMED) that a key of a principal of the role `freshness` has signed
       (SIGNATURE_INVALID, THRESHOLD_NOT_MET).
    3. It lives no longer than the policy lets it and is not from the future (POINTER_STALE).
    4. It has not expired (POINTER_STALE).
    """
    # 1.
    policy.check_standing(now)
    # 2.
    keys = {k: policy.keys[k] for p in policy.with_role("freshness") for k in p.keys}
    dsse.verify(envelope, Freshness.PAYLOAD_TYPE, keys)
    freshness = Freshness.decode(envelope.payload)
    # 3.
    issued, expires = parse_time(freshness.issued), parse_time(freshness.expires)
    longest = timedelta(seconds=policy.rules.freshness_seconds)
    if expires - issued > longest or issued > now + CLOCK_SKEW:
        raise SealgateError(Reason.POINTER_STALE, "a freshness statement with times that cannot be")
    # 4.
    if now >= expires:
        raise SealgateError(Reason.POINTER_STALE, f"since {freshness.expires}")
    return freshness


def revoked_model(model: str, digest: str) -> str:
    """Return the name by which a revocation names a version under `model` alone.

    It is the SHA-256 of a text with the model's name and the version's digest. A revocation of the
    version under every model names its digest. The two can't be mistaken for each other: a
    manifest begins with `{`, this text does not.
    """
    return sha256(f"{_REVOKED_CONTEXT}\n{model}\n{digest}".encode())


def revocation_names(model: str, digest: str) -> tuple[str, str]:
    """Return every name under which a model's version may have been revoked."""
    return digest, revoked_model(model, digest)


def is_revoked(revoked: Collection[str], model: str, digest: str) -> bool:
    """Say whether a model's version is among what was revoked."""
    return any(name in revoked for name in revocation_names(model, digest))


@dataclass(frozen=True, slots=True)
class PointerBundle:
    """A pointer with all that it rests on: its proposal, the approvals, and what it returns to.

    A rollback has the proposal and approvals of `returned`, which is a promotion's bundle.
    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    TYPE: ClassVar[str] = "sealgate/pointer-bundle/v1"

    pointer: Envelope
    proposal: Envelope
    approvals: tuple[Envelope, ...]
    returned: Self | None = None

    def __post_init__(self) -> None:
        back = self.returned
        if back is None:
            return
        if back.returned or (back.proposal, back.approvals) != (self.proposal, self.approvals):
            raise fields.malformed("a rollback returns to a promotion, and rests on the same")

    @classmethod
    def rollback(cls, pointer: Envelope, returned: Self) -> Self:
        """Make the bundle of a rollback to the promotion `returned`."""
        return cls(pointer, returned.proposal, returned.approvals, returned)

    def encode(self) -> bytes:
        """Return the canonical JSON; a rollback writes what it shares with `returned` once."""
        return canonical.encode(self._to_json())

    def _to_json(self) -> dict[str, Any]:
        if self.returned:
            rest: dict[str, Any] = {"returned": self.returned._to_json()}
        else:
            approvals = [approval.to_json() for approval in self.approvals]
            rest = {"proposal": self.proposal.to_json(), "approvals": approvals}
        return {"type": self.TYPE, "pointer": self.pointer.to_json(), **rest}

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        return cls._from_json(canonical.decode(data), may_return=True)

    @classmethod
    def _from_json(cls, value: object, may_return: bool) -> Self:
        if may_return and "returned" in fields.mapping(value):
            outer = fields.record(value, ("pointer", "returned"), cls.TYPE)
            returned = cls._from_json(outer["returned"], may_return=False)
            return cls.rollback(Envelope.from_json(outer["pointer"]), returned)
        outer = fields.record(value, ("pointer", "proposal", "approvals"), cls.TYPE)
        return cls(
            Envelope.from_json(outer["pointer"]),
            Envelope.from_json(outer["proposal"]),
            tuple(Envelope.from_json(item) for item in fields.items(outer["approvals"])),
        )


def _instance(value: Any) -> str:
    fields.unhex(value, INSTANCE_BYTES)
    return str(value)


def _counts(value: Any) -> None:
    for digest, requests, rows in value:
        check_digest(digest), form.positive(requests), form.positive(rows)
    form.sorted_digests([digest for digest, _, _ in value])


@dataclass(frozen=True, slots=True)
class EngineCounts(Statement):
    """Counts since the engine's process began, at `since`.

    `instance` is random, 16 bytes in hexadecimal digits, and new with each process; `sequence`
    grows with each statement of an instance. `counts` holds, for each version that was run, its
    digest, the requests and their rows, sorted.
    """

    TYPE: ClassVar[str] = "sealgate/engine-counts/v1"
    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.sealgate.engine-counts.v1+json"
    AUTHOR: ClassVar[str] = "engine"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "engine": form.name,
        "instance": _instance,
        "sequence": form.positive,
        "since": form.time,
        "time": form.time,
        "counts": _counts,
    }

    engine: str
    instance: str
    sequence: int
    since: str
    time: str
    counts: tuple[tuple[str, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        counts = {
            digest: {"requests": requests, "rows": rows} for digest, requests, rows in self.counts
        }
        return {**Statement.to_json(self), "counts": counts}

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        counts = []
        for digest, value in sorted(fields.mapping(record["counts"]).items()):
            item = fields.record(value, ("requests", "rows"))
            counts.append((digest, item["requests"], item["rows"]))
        return {**record, "counts": tuple(counts)}

    def follows(self, before: "EngineCounts") -> bool:
        """Whether it may come after `before` of the same engine and instance: nothing shrinks."""
        later = {digest: (requests, rows) for digest, requests, rows in self.counts}
        return self.sequence > before.sequence and all(
            (found := later.get(digest)) is not None and found[0] >= requests and found[1] >= rows
            for digest, requests, rows in before.counts
        )
