"""The types of statements: of a promotion's life, freshness and evidence.

None can be shown as another, for each has a type of its own under its signature. Documents refer
to one another by the digest of the payload. Times are text, as `sealgate.trust.times` writes it.

A rejection by an approver, or a withdrawal by the proposer, ends the proposal for good: nobody can
approve or promote it any more, and a new one must be made. A comment changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sealgate.trust import fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.policy import check_share
from sealgate.trust.statements import base as form
from sealgate.trust.statements.base import Check, Statement

PROPOSAL = "application/vnd.sealgate.proposal.v1+json"
APPROVAL = "application/vnd.sealgate.approval.v1+json"
POINTER = "application/vnd.sealgate.pointer.v1+json"
REVOCATION = "application/vnd.sealgate.revocation.v1+json"
FRESHNESS = "application/vnd.sealgate.freshness.v1+json"
EVIDENCE = "application/vnd.sealgate.evidence.v1+json"

PROMOTE = "promote"
ROLLBACK = "rollback"
REJECTION = "application/vnd.sealgate.rejection.v1+json"
WITHDRAWAL = "application/vnd.sealgate.proposal-withdrawal.v1+json"
COMMENT = "application/vnd.sealgate.comment.v1+json"


@dataclass(frozen=True, slots=True)
class Proposal(Statement):
    """The proposal that approvers sign: this version for this alias, at this point of its history.

    `evidence` pairs each kind with the digest of its item, sorted. `predecessor` is the sequence
    of the pointer that this one would follow (0: none). `policy` is the digest of the policy.
    `share` is what the alias gets of production's requests, in percent: see `shares`.
    """

    TYPE: ClassVar[str] = "sealgate/proposal/v1"
    PAYLOAD_TYPE: ClassVar[str] = PROPOSAL
    AUTHOR: ClassVar[str] = "proposer"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "model": form.name,
        "alias": form.name,
        "version": form.positive,
        "digest": check_digest,
        "evidence": form.evidence_pairs,
        "predecessor": fields.integer,
        "policy": check_digest,
        "proposer": form.name,
        "created": form.time,
        "not_after": form.time,
        "share": fields.integer,
    }
    OPTIONAL: ClassVar[Mapping[str, Any]] = {"share": 0}

    model: str
    alias: str
    version: int
    digest: str
    evidence: tuple[tuple[str, str], ...]
    predecessor: int
    policy: str
    proposer: str
    created: str
    not_after: str
    share: int = 0

    def __post_init__(self) -> None:
        Statement.__post_init__(self)
        check_share(self.alias, self.share)

    def to_json(self) -> dict[str, Any]:
        return {**Statement.to_json(self), "evidence": dict(self.evidence)}

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "evidence": tuple(sorted(fields.mapping(record["evidence"]).items()))}


@dataclass(frozen=True, slots=True)
class Approval(Statement):
    """One person's signature over a proposal, with its meaning (21 CFR 11.50)."""

    TYPE: ClassVar[str] = "sealgate/approval/v1"
    PAYLOAD_TYPE: ClassVar[str] = APPROVAL
    AUTHOR: ClassVar[str] = "approver"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "approver": form.name,
        "meaning": form.sentence,
        "time": form.time,
    }

    proposal: str
    approver: str
    meaning: str
    time: str


@dataclass(frozen=True, slots=True)
class Pointer(Statement):
    """A move of an alias, by an admin.

    `proposal` and `approvals` (sorted) are digests of payloads. A rollback repeats those of the
    promotion that it returns to, whose pointer's digest is `returns_to`; a promotion leaves that
    empty.
    """

    TYPE: ClassVar[str] = "sealgate/pointer/v1"
    PAYLOAD_TYPE: ClassVar[str] = POINTER
    AUTHOR: ClassVar[str] = "admin"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "action": form.one_of(PROMOTE, ROLLBACK),
        "model": form.name,
        "alias": form.name,
        "version": form.positive,
        "digest": check_digest,
        "sequence": form.positive,
        "proposal": check_digest,
        "approvals": form.sorted_digests,
        "returns_to": form.digest_or_none,
        "policy": check_digest,
        "admin": form.name,
        "time": form.time,
        "reason": form.sentence,
    }

    action: str
    model: str
    alias: str
    version: int
    digest: str
    sequence: int
    proposal: str
    approvals: tuple[str, ...]
    returns_to: str
    policy: str
    admin: str
    time: str
    reason: str

    def __post_init__(self) -> None:
        Statement.__post_init__(self)
        if (self.action == ROLLBACK) != bool(self.returns_to):
            raise fields.malformed("a rollback, and nothing else, names what it returns to")

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "approvals": fields.texts(record["approvals"])}


@dataclass(frozen=True, slots=True)
class Revocation(Statement):
    """An admin's word that a version must never answer again."""

    TYPE: ClassVar[str] = "sealgate/revocation/v1"
    PAYLOAD_TYPE: ClassVar[str] = REVOCATION
    AUTHOR: ClassVar[str] = "admin"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "model": form.name,
        "version": form.positive,
        "digest": check_digest,
        "reason": form.sentence,
        "admin": form.name,
        "time": form.time,
    }

    model: str
    version: int
    digest: str
    reason: str
    admin: str
    time: str


@dataclass(frozen=True, slots=True)
class Freshness(Statement):
    """An online key's word on what is live now: every pointer and every revocation.

    `pointers` holds (`model/alias`, sequence, digest of the pointer), sorted; `revoked` digests
    of versions and `rejected` digests of proposals that were rejected or withdrawn, both sorted. As
    TUF's snapshot and timestamp do, it keeps anyone from serving an older state that was once
    approved.
    """

    TYPE: ClassVar[str] = "sealgate/freshness/v1"
    PAYLOAD_TYPE: ClassVar[str] = FRESHNESS
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "sequence": form.positive,
        "pointers": form.pointer_states,
        "revoked": form.sorted_digests,
        "issued": form.time,
        "expires": form.time,
        "rejected": form.sorted_digests,
    }
    OPTIONAL: ClassVar[Mapping[str, Any]] = {"rejected": ()}

    sequence: int
    pointers: tuple[tuple[str, int, str], ...]
    revoked: tuple[str, ...]
    issued: str
    expires: str
    rejected: tuple[str, ...] = ()

    def pointer(self, model: str, alias: str) -> tuple[int, str] | None:
        """Return sequence and digest of the alias's pointer, or None where it has none."""
        for place, sequence, digest in self.pointers:
            if place == f"{model}/{alias}":
                return sequence, digest
        return None

    def to_json(self) -> dict[str, Any]:
        pointers = {place: {"sequence": n, "digest": d} for place, n, d in self.pointers}
        return {**Statement.to_json(self), "pointers": pointers}

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        pointers = []
        for place, value in sorted(fields.mapping(record["pointers"]).items()):
            item = fields.record(value, ("sequence", "digest"))
            pointers.append((place, item["sequence"], item["digest"]))
        digests: dict[str, Any] = {
            n: fields.texts(record[n]) for n in ("revoked", "rejected") if n in record
        }
        return {**record, "pointers": tuple(pointers), **digests}


@dataclass(frozen=True, slots=True)
class Evidence(Statement):
    """One item that backs a promotion: what it is, of which version, by whom, and its content."""

    TYPE: ClassVar[str] = "sealgate/evidence/v1"
    PAYLOAD_TYPE: ClassVar[str] = EVIDENCE
    AUTHOR: ClassVar[str] = "maker"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "kind": form.name,
        "version_digest": check_digest,
        "maker": form.name,
        "created": form.time,
        "body": fields.mapping,
    }

    kind: str
    version_digest: str
    maker: str
    created: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection(Statement):
    """An approver's signed no to a proposal, with the reason."""

    TYPE: ClassVar[str] = "sealgate/rejection/v1"
    PAYLOAD_TYPE: ClassVar[str] = REJECTION
    AUTHOR: ClassVar[str] = "approver"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "approver": form.name,
        "reason": form.sentence,
        "time": form.time,
    }

    proposal: str
    approver: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class ProposalWithdrawal(Statement):
    """The proposer's word that a proposal is no longer made."""

    TYPE: ClassVar[str] = "sealgate/proposal-withdrawal/v1"
    PAYLOAD_TYPE: ClassVar[str] = WITHDRAWAL
    AUTHOR: ClassVar[str] = "proposer"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "proposer": form.name,
        "reason": form.sentence,
        "time": form.time,
    }

    proposal: str
    proposer: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Comment(Statement):
    """A remark on a proposal, by anyone who may read it and has a signing key."""

    TYPE: ClassVar[str] = "sealgate/comment/v1"
    PAYLOAD_TYPE: ClassVar[str] = COMMENT
    AUTHOR: ClassVar[str] = "person"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "proposal": check_digest,
        "person": form.name,
        "text": form.sentence,
        "time": form.time,
    }

    proposal: str
    person: str
    text: str
    time: str
