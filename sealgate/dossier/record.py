"""The registry log's record of one model, and the claims of a dossier with their proofs.

Each document is verified by the policies of its time. A claim names the entries that prove it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from sealgate.audit import ProvedEntry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import DEFAULT_ALIAS, STAFF_ROLES, EvidenceRules, Policy
from sealgate.trust.statements import (
    Approval,
    Comment,
    Evidence,
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    ProposalWithdrawal,
    Rejection,
    Revocation,
    open_under,
)
from sealgate.trust.statements.base import Statement

NOT_COVERED = "Not covered by Sealgate"
_S = TypeVar("_S", bound=Statement)
_APPROVERS, _PROPOSERS = ("approver",), ("publisher", "admin")


@dataclass(frozen=True, slots=True)
class Citation:
    """Entry `entry` of the registry's log, and the document of that digest which the entry names;
    empty where the entry itself says it.
    """

    entry: int
    document: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"entry": self.entry, "document": self.document}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("entry", "document"))
        return cls(fields.integer(outer["entry"]), fields.text(outer["document"]))


@dataclass(frozen=True, slots=True)
class DossierClaim:
    """One line. Without citations it says what Sealgate does not cover."""

    text: str
    citations: tuple[Citation, ...] = ()

    @property
    def is_covered(self) -> bool:
        return bool(self.citations)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "citations": [each.to_json() for each in self.citations]}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("text", "citations"))
        cited = tuple(map(Citation.from_json, fields.items(outer["citations"])))
        return cls(fields.text(outer["text"]), cited)


def not_covered(what: str) -> DossierClaim:
    """The line that says so."""
    return DossierClaim(f"{NOT_COVERED}: {what}")


@dataclass(frozen=True, slots=True)
class RecordedStatement:
    """A statement, the entry that recorded it, and the digest of its envelope there."""

    entry: ProvedEntry
    statement: Any
    document: str

    @property
    def citation(self) -> Citation:
        return Citation(self.entry.index, self.document)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version with its manifest and evidence. `citation` is of its registration."""

    number: int
    entry: ProvedEntry
    manifest: Manifest
    evidence: tuple[RecordedStatement, ...]

    @property
    def citation(self) -> Citation:
        return Citation(self.entry.index, str(self.entry.body["manifest"]))

    def item(self, kind: str) -> RecordedStatement | None:
        """Its evidence of a kind, if any."""
        return next((each for each in self.evidence if each.statement.kind == kind), None)


@dataclass(slots=True)
class ModelHistory:
    """All entries about a model, oldest first, and the policies of the same part of the log.

    `size` is how many entries the log had.
    """

    model: str
    policies: tuple[Policy, ...]
    policy_entries: list[ProvedEntry] = field(default_factory=list)
    created: ProvedEntry | None = None
    versions: dict[int, RegisteredVersion] = field(default_factory=dict)
    attached: list[RecordedStatement] = field(default_factory=list)
    proposals: dict[str, RecordedStatement] = field(default_factory=dict)
    approvals: list[RecordedStatement] = field(default_factory=list)
    rejections: list[RecordedStatement] = field(default_factory=list)
    withdrawals: list[RecordedStatement] = field(default_factory=list)
    comments: list[RecordedStatement] = field(default_factory=list)
    moves: list[tuple[RecordedStatement, PointerBundle]] = field(default_factory=list)
    revocations: list[RecordedStatement] = field(default_factory=list)
    drifts: list[ProvedEntry] = field(default_factory=list)
    allowances: list[ProvedEntry] = field(default_factory=list)
    anchors: list[ProvedEntry] = field(default_factory=list)
    size: int = 0

    @property
    def policy(self) -> Policy:
        return self.policies[-1]

    @property
    def policy_citation(self) -> Citation:
        """Of the newest policy."""
        entry = self.policy_entries[-1]
        return Citation(entry.index, str(entry.body["envelope"]))

    def live(self, alias: str) -> tuple[RecordedStatement, PointerBundle] | None:
        """The newest move of an alias."""
        here = [each for each in self.moves if each[0].statement.alias == alias]
        return here[-1] if here else None

    def subject(self) -> RegisteredVersion | None:
        """The version that the dossier describes: that in production, or else the newest."""
        live = self.live(DEFAULT_ALIAS)
        number = live[0].statement.version if live else max(self.versions, default=0)
        return self.versions.get(number)

    def attached_of(self, kind: str) -> list[RecordedStatement]:
        """The evidence of a kind that was attached to the version that the dossier describes."""
        subject = self.subject()
        digest = subject.manifest.digest if subject else ""
        return [
            said
            for said in self.attached
            if said.statement.kind == kind and said.statement.version_digest == digest
        ]


def read_record(
    model: str, entries: Iterable[ProvedEntry], policies: Sequence[Policy], end: int | None = None
) -> ModelHistory:
    """Read the record of a model from the log's entries, of which `end` count (by default all).

    `policies` is the verified chain, oldest first. Raises SealgateError: MODEL_UNKNOWN, and as
    `open_under` and the entries do.
    """
    record = ModelHistory(model, tuple(policies))
    for entry in entries:
        # To the end all the same: only then have the entries led to the signed root.
        if end is None or entry.index < end:
            _READERS.get(entry.event, _ignore)(record, entry)
            record.size = entry.index + 1
    if record.created is None:
        raise SealgateError(Reason.MODEL_UNKNOWN, f"the log has no model {model}")
    record.policies = record.policies[: len(record.policy_entries)]
    return record


def _ignore(record: ModelHistory, entry: ProvedEntry) -> None:
    """An entry that is about no model."""


def _policy(record: ModelHistory, entry: ProvedEntry) -> None:
    record.policy_entries.append(entry)


def _created(record: ModelHistory, entry: ProvedEntry) -> None:
    if entry.subject == f"models/{record.model}":
        record.created = entry


def _version(record: ModelHistory, entry: ProvedEntry) -> None:
    number = _number(record, entry)
    if number is None:
        return
    manifest = Manifest.decode(entry.document(str(entry.body["manifest"])))
    if manifest.digest != entry.body["digest"]:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of entry {entry.index}")
    items = [
        _said(record, entry, digest, Evidence, EvidenceRules.MAKERS)
        for digest in entry.body["evidence"]
    ]
    _check(entry, {item.statement.version_digest for item in items} <= {manifest.digest})
    record.versions[number] = RegisteredVersion(number, entry, manifest, tuple(items))


def _attached(record: ModelHistory, entry: ProvedEntry) -> None:
    number = _number(record, entry)
    if number is not None:
        said = _named(record, entry, Evidence, EvidenceRules.ATTACHERS)
        version = record.versions.get(number)
        _check(entry, version and version.manifest.digest == said.statement.version_digest)
        record.attached.append(said)


def _proposed(record: ModelHistory, entry: ProvedEntry) -> None:
    if entry.subject.startswith(f"models/{record.model}/aliases/"):
        said = _named(record, entry, Proposal, _PROPOSERS)
        _check(entry, _place(said.statement) == entry.subject)
        record.proposals[said.statement.payload_digest] = said


def _approved(record: ModelHistory, entry: ProvedEntry) -> None:
    _replied(record, entry, record.approvals, Approval, _APPROVERS)


def _rejected(record: ModelHistory, entry: ProvedEntry) -> None:
    _replied(record, entry, record.rejections, Rejection, _APPROVERS)


def _withdrawn(record: ModelHistory, entry: ProvedEntry) -> None:
    _replied(record, entry, record.withdrawals, ProposalWithdrawal, _PROPOSERS)


def _commented(record: ModelHistory, entry: ProvedEntry) -> None:
    _replied(record, entry, record.comments, Comment, STAFF_ROLES)


def _moved(record: ModelHistory, entry: ProvedEntry) -> None:
    if not entry.subject.startswith(f"models/{record.model}/aliases/"):
        return
    document = str(entry.body["bundle"])
    bundle = PointerBundle.decode(entry.document(document))
    pointer = open_under(bundle.pointer, Pointer, record.policies, ("admin", "rollback"))
    _check(entry, _place(pointer) == entry.subject)
    _check(entry, bundle.proposal.payload_digest == pointer.proposal)
    record.moves.append((RecordedStatement(entry, pointer, document), bundle))


def _revoked(record: ModelHistory, entry: ProvedEntry) -> None:
    number = _number(record, entry)
    if number is not None:
        said = _named(record, entry, Revocation, ("admin",))
        _check(entry, (said.statement.model, said.statement.version) == (record.model, number))
        record.revocations.append(said)


def _drifted(record: ModelHistory, entry: ProvedEntry) -> None:
    if _number(record, entry) is not None:
        record.drifts.append(entry)


def _allowed(record: ModelHistory, entry: ProvedEntry) -> None:
    if entry.subject == f"models/{record.model}":
        record.allowances.append(entry)


def _anchored(record: ModelHistory, entry: ProvedEntry) -> None:
    record.anchors = [e for e in record.anchors if e.subject != entry.subject]
    record.anchors.append(entry)


_READERS = {
    "policy.accepted": _policy,
    "model.created": _created,
    "version.registered": _version,
    "evidence.attached": _attached,
    "proposal.created": _proposed,
    "approval.added": _approved,
    "proposal.rejected": _rejected,
    "proposal.withdrawn": _withdrawn,
    "comment.added": _commented,
    "pointer.moved": _moved,
    "version.revoked": _revoked,
    "screening.drifted": _drifted,
    "request.allowed": _allowed,
    "answers.anchored": _anchored,
}


def _number(record: ModelHistory, entry: ProvedEntry) -> int | None:
    """The version that an entry is about, if it is one of the model's."""
    model, _, version = entry.subject.removeprefix("models/").partition("/versions/")
    return int(version) if model == record.model and version.isdecimal() else None


def _replied(
    record: ModelHistory,
    entry: ProvedEntry,
    replies: list[RecordedStatement],
    kind: type[_S],
    roles: Collection[str],
) -> None:
    """Take a reply to one of the model's proposals."""
    proposal = entry.subject.removeprefix("proposals/")
    if proposal in record.proposals:
        said = _named(record, entry, kind, roles)
        _check(entry, said.statement.proposal == proposal)
        replies.append(said)


def _place(statement: Proposal | Pointer) -> str:
    return f"models/{statement.model}/aliases/{statement.alias}"


def _check(entry: ProvedEntry, holds: object) -> None:
    """A log's operator can let an entry name a document that somebody signed about something else.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    if not holds:
        detail = f"entry {entry.index} is about something else than its document"
        raise SealgateError(Reason.LOG_INCONSISTENT, detail)


def _named(
    record: ModelHistory, entry: ProvedEntry, kind: type[_S], roles: Collection[str]
) -> RecordedStatement:
    return _said(record, entry, str(entry.body["envelope"]), kind, roles)


def _said(
    record: ModelHistory, entry: ProvedEntry, digest: str, kind: type[_S], roles: Collection[str]
) -> RecordedStatement:
    envelope = Envelope.decode(entry.document(digest))
    return RecordedStatement(entry, open_under(envelope, kind, record.policies, roles), digest)
