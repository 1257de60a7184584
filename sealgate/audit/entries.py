"""Entries of the registry's log with inclusion proofs and documents, verified for an auditor.

`live_pointers` proves by them which version of each model was live at a given time. The proof has
two parts. Sequences have no gaps, so the last move up to the time is shown together
with the next one, which came after the time or is the newest by the freshness key's word. And
everybody must be shown the same log, which `audit verify`, `audit follow` and every client check;
only that stops both keys from signing another history.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Freshness, is_revoked
from sealgate.trust.statements.covering import revocation_names
from sealgate.trust.transparency import Checkpoint, merkle

TYPE = "sealgate/entry/v1"
# The fields of the entries that are read here (registry/state/events.py).
_BODIES = {
    "policy.accepted": ("digest", "envelope"),
    "version.registered": ("digest", "manifest", "signature", "evidence", "commitment"),
    "proposal.created": ("proposal", "version", "envelope"),
    "approval.added": ("approval", "envelope"),
    "proposal.rejected": ("rejection", "envelope"),
    "proposal.withdrawn": ("withdrawal", "envelope"),
    "comment.added": ("comment", "envelope"),
    "pointer.moved": ("action", "sequence", "pointer", "version", "digest", "bundle"),
    "version.revoked": ("digest", "envelope"),
    "request.allowed": ("allowance", "envelope"),
    "evidence.attached": ("item", "kind", "envelope"),
}
_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "sequence": fields.integer,
    "version": fields.integer,
    "evidence": fields.texts,
}


@dataclass(frozen=True, slots=True)
class ProvedEntry:
    """Entry `index` of the log: what happened, when, in whose name, to what; `documents` by
    digest.
    """

    index: int
    event: str
    time: str
    principal: str
    subject: str
    body: Mapping[str, Any]
    documents: Mapping[str, bytes]

    @classmethod
    def read(cls, index: int, leaf: bytes, documents: Iterable[bytes] = ()) -> "ProvedEntry":
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        revocation_names = ("event", "time", "principal", "subject", "body")
        outer = fields.record(canonical.decode(leaf), revocation_names, TYPE)
        told = {name: fields.text(outer[name]) for name in revocation_names[:-1]}
        by_digest = {sha256(document): document for document in documents}
        body = fields.mapping(outer["body"])
        if told["event"] in _BODIES:
            for name in fields.record(body, _BODIES[told["event"]]):
                _CHECKS.get(name, fields.text)(body[name])
        return cls(index=index, body=body, documents=by_digest, **told)

    def document(self, digest: str) -> bytes:
        """The document of that digest. Raises SealgateError(DIGEST_MISMATCH) where it was not
        shown.
        """
        if digest not in self.documents:
            raise SealgateError(
                Reason.DIGEST_MISMATCH, f"entry {self.index}: {digest} is not shown"
            )
        return self.documents[digest]


def prove_entry(leaf: bytes, index: int, hashes: Iterable[bytes], checkpoint: Checkpoint) -> None:
    """Check that the log of `checkpoint` holds a leaf. Raises SealgateError(PROOF_INVALID)."""
    hashed = merkle.leaf_hash(leaf)
    merkle.verify_inclusion(hashed, index, checkpoint.size, list(hashes), checkpoint.root)


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """Entries proved under one checkpoint of the registry's log, oldest first, and the verified
    statement of what is newest.

    Raises SealgateError(LOG_INCONSISTENT) for two moves of one place in an alias's history.
    """

    checkpoint: Checkpoint
    freshness: Freshness
    entries: tuple[ProvedEntry, ...]

    def __post_init__(self) -> None:
        moves = [(e.subject, e.body["sequence"]) for e in self.of("pointer.moved")]
        if len(set(moves)) != len(moves):
            raise SealgateError(Reason.LOG_INCONSISTENT, "two moves have one place in a history")

    def of(self, event: str) -> tuple[ProvedEntry, ...]:
        """The entries of one kind."""
        return tuple(entry for entry in self.entries if entry.event == event)

    def move(self, subject: str, sequence: int) -> ProvedEntry | None:
        """An alias's move of that sequence, if it is shown."""
        for entry in self.of("pointer.moved"):
            if (entry.subject, entry.body["sequence"]) == (subject, sequence):
                return entry
        return None

    def after(self, subject: str, sequence: int, digest: str) -> ProvedEntry | None:
        """The move that followed; None where `sequence`, of the pointer `digest`, is the newest.

        A move that is left out shows, for sequences have no gap and the statement says where they
        end. Raises SealgateError(LOG_INCONSISTENT).
        """
        model, alias = alias_of(subject)
        newest = self.freshness.pointer(model, alias)
        if newest == (sequence, digest):
            return None
        following = self.move(subject, sequence + 1)
        if following is None:
            raise SealgateError(
                Reason.LOG_INCONSISTENT, f"{subject}: the entry after move {sequence} is missing"
            )
        return following

    def revoked_at(self, model: str, digest: str) -> str:
        """When a model's version was revoked; empty where it is not.

        Raises SealgateError(LOG_INCONSISTENT) where it is, and the entry is not shown.
        """
        wanted = revocation_names(model, digest)
        times = [e.time for e in self.of("version.revoked") if e.body["digest"] in wanted]
        if is_revoked(self.freshness.revoked, model, digest) and not times:
            raise SealgateError(Reason.LOG_INCONSISTENT, f"the revocation of {digest} is not shown")
        return min(times, default="")


def alias_of(subject: str) -> tuple[str, str]:
    """Model and alias out of `models/{model}/aliases/{alias}`."""
    parts = subject.split("/")
    if len(parts) != 4 or (parts[0], parts[2]) != ("models", "aliases"):
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "an entry's subject is no alias")
    return parts[1], parts[3]


@dataclass(frozen=True, slots=True)
class LivePointer:
    """An alias at a time: which move counted, and the entry of the log that proves it.

    `until` is when the next move came, `revoked` when the version was revoked by then; empty where
    neither had happened.
    """

    model: str
    alias: str
    version: int
    digest: str
    sequence: int
    action: str
    admin: str
    since: str
    until: str
    revoked: str
    entry: int


def live_pointers(excerpt: LogExcerpt, time: str, model: str = "") -> tuple[LivePointer, ...]:
    """The aliases that pointed at something at `time` (text as in the log), of `model` or of all.

    1. The aliases are those of the freshness statement.
    2. Of each, the last move up to the time is shown, and that nothing came between it and the
       time (`LogExcerpt.after`); or else that its first move came later.
    3. A version that is revoked comes with the entry that says when.

    Raises SealgateError(LOG_INCONSISTENT) where something is withheld.
    """
    found = []
    # 1.
    for place, newest, digest in excerpt.freshness.pointers:
        name, _, alias = place.partition("/")
        if model in ("", name):
            live = _live_at(excerpt, name, alias, time, newest, digest)
            if live is not None:
                found.append(live)
    return tuple(found)


def _live_at(
    excerpt: LogExcerpt, model: str, alias: str, time: str, newest: int, digest: str
) -> LivePointer | None:
    # 2.
    subject = f"models/{model}/aliases/{alias}"
    earlier = [e for e in excerpt.of("pointer.moved") if e.subject == subject and e.time <= time]
    last = max(earlier, key=lambda e: int(e.body["sequence"]), default=None)
    sequence = int(last.body["sequence"]) if last else 0
    if sequence > newest:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"{subject}: {sequence} after {newest}")
    following = excerpt.after(subject, sequence, str(last.body["pointer"]) if last else "")
    if following is not None and following.time <= time:
        raise SealgateError(
            Reason.LOG_INCONSISTENT, f"{subject}: a later move was already in force"
        )
    if last is None:
        return None
    # 3.
    revoked = excerpt.revoked_at(model, str(last.body["digest"]))
    return LivePointer(
        model=model,
        alias=alias,
        version=int(last.body["version"]),
        digest=str(last.body["digest"]),
        sequence=sequence,
        action=str(last.body["action"]),
        admin=last.principal,
        since=last.time,
        until=following.time if following else "",
        revoked=revoked if revoked and revoked <= time else "",
        entry=last.index,
    )
