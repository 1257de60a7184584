"""The entries of the registry's log: one for each change of state.

An entry is canonical JSON: type, event, time, principal, subject, body. It follows from its row
alone, so rows and entries can be compared byte for byte. Large values are in it as digests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from registry.state import schema
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256

TYPE = "sealgate/entry/v1"

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of change: its name, the table of its rows, and what an entry says about a row."""

    name: str
    table: Table
    subject: Callable[[Values], str]
    body: Callable[[Values], dict[str, Any]]

    def entry(self, row: Values) -> bytes:
        """Return the entry of a row, which has at least `time` and `principal` beside its own."""
        return canonical.encode(
            {
                "type": TYPE,
                "event": self.name,
                "time": row["time"],
                "principal": row["principal"],
                "subject": self.subject(row),
                "body": self.body(row),
            }
        )


def _model(row: Values) -> str:
    return f"models/{row['model']}"


def _version(row: Values) -> str:
    return f"models/{row['model']}/versions/{row['version']}"


def _alias(row: Values) -> str:
    return f"models/{row['model']}/aliases/{row['alias']}"


def _proposal(row: Values) -> str:
    return f"proposals/{row['proposal']}"


def _api_key(row: Values) -> str:
    return f"api-keys/{row['key_id']}"


def _known(row: Values, *names: str) -> dict[str, Any]:
    """Fields that entries of earlier releases do not have."""
    return {name: row[name] for name in names if row[name] is not None}


POLICY_ACCEPTED = Event(
    "policy.accepted",
    schema.POLICIES,
    lambda row: f"policies/{row['version']}",
    lambda row: {"digest": row["digest"], "envelope": sha256(row["envelope"])},
)

MODEL_CREATED = Event("model.created", schema.MODELS, _model, lambda row: {})

WATERMARK_COMMITTED = Event(
    "watermark.committed",
    schema.COMMITMENTS,
    _model,
    lambda row: {"commitment": row["commitment"]},
)

VERSION_REGISTERED = Event(
    "version.registered",
    schema.VERSIONS,
    _version,
    lambda row: {
        "digest": row["digest"],
        "manifest": sha256(row["manifest"]),
        "signature": sha256(row["signature"]),
        "evidence": row["evidence"].split(),
        "commitment": row["commitment"],
    },
)

PROPOSAL_CREATED = Event(
    "proposal.created",
    schema.PROPOSALS,
    _alias,
    lambda row: {
        "proposal": row["digest"],
        "version": row["version"],
        "envelope": sha256(row["envelope"]),
    },
)

APPROVAL_ADDED = Event(
    "approval.added",
    schema.APPROVALS,
    _proposal,
    lambda row: {"approval": row["digest"], "envelope": sha256(row["envelope"])},
)

PROPOSAL_REJECTED = Event(
    "proposal.rejected",
    schema.REJECTIONS,
    _proposal,
    lambda row: {"rejection": row["digest"], "envelope": sha256(row["envelope"])},
)

PROPOSAL_WITHDRAWN = Event(
    "proposal.withdrawn",
    schema.PROPOSAL_WITHDRAWALS,
    _proposal,
    lambda row: {"withdrawal": row["digest"], "envelope": sha256(row["envelope"])},
)

COMMENT_ADDED = Event(
    "comment.added",
    schema.COMMENTS,
    _proposal,
    lambda row: {"comment": row["digest"], "envelope": sha256(row["envelope"])},
)

POINTER_MOVED = Event(
    "pointer.moved",
    schema.POINTERS,
    _alias,
    lambda row: {
        "action": row["action"],
        "sequence": row["sequence"],
        "pointer": row["digest"],
        "version": row["version"],
        "digest": row["version_digest"],
        "bundle": sha256(row["bundle"]),
    },
)

VERSION_REVOKED = Event(
    "version.revoked",
    schema.REVOCATIONS,
    _version,
    lambda row: {"digest": row["version_digest"], "envelope": sha256(row["envelope"])},
)

ANSWERS_ANCHORED = Event(
    "answers.anchored",
    schema.ANCHORS,
    lambda row: f"logs/{row['origin']}",
    lambda row: {"size": row["size"], "checkpoint": row["note"]},
)

REFUSALS_COUNTED = Event(
    "refusals.counted",
    schema.REFUSALS,
    lambda row: f"logs/{row['origin']}",
    lambda row: {"number": row["number"], "counts": canonical.decode(row["counts"].encode())},
)

API_KEY_CREATED = Event(
    "api-key.created",
    schema.API_KEYS,
    _api_key,
    lambda row: {
        "holder": row["holder"],
        "label": row["label"],
        "expires": row["expires"],
        "digest": sha256(row["digest"].encode()),
    },
)

API_KEY_REVOKED = Event(
    "api-key.revoked",
    schema.API_KEY_REVOCATIONS,
    _api_key,
    lambda row: {"reason": row["reason"]},
)

ENGINE_COUNTED = Event(
    "engine.counted",
    schema.ENGINE_COUNTS,
    lambda row: f"engines/{row['engine']}",
    lambda row: {
        "instance": row["instance"],
        "sequence": row["sequence"],
        "envelope": sha256(row["envelope"]),
    },
)

ARTIFACTS_COLLECTED = Event(
    "artifacts.collected",
    schema.COLLECTIONS,
    lambda row: f"collections/{row['number']}",
    lambda row: {
        "files": row["files"],
        "bytes": row["bytes"],
        "digests": sha256(row["digests"].encode()),
    },
)

SUBJECT_ERASED = Event(
    "subject.erased",
    schema.ERASURES,
    lambda row: f"logs/{row['origin']}",
    lambda row: {"pseudonym": row["pseudonym"]} | _known(row, "entries", "size", "key_digest"),
)

LOG_PRUNED = Event(
    "log.pruned",
    schema.PRUNINGS,
    lambda row: f"logs/{row['origin']}",
    lambda row: {"size": row["size"]} | _known(row, "closed"),
)

REQUEST_ALLOWED = Event(
    "request.allowed",
    schema.ALLOWANCES,
    _model,
    lambda row: {"allowance": row["digest"], "envelope": sha256(row["envelope"])},
)

SCREENING_DRIFTED = Event(
    "screening.drifted",
    schema.DRIFTS,
    _version,
    lambda row: {
        "digest": row["version_digest"],
        "origin": row["origin"],
        "finding": canonical.decode(row["finding"].encode()),
    },
)

EVIDENCE_ATTACHED = Event(
    "evidence.attached",
    schema.ATTACHMENTS,
    _version,
    lambda row: {
        "item": row["digest"],
        "kind": row["kind"],
        "envelope": sha256(row["envelope"]),
    },
)

PASSKEY_USED = Event(
    "passkey.used",
    schema.PASSKEY_USES,
    lambda row: f"passkeys/{row['keyid']}",
    lambda row: {"counter": row["counter"], "document": row["document"]},
)

EVENTS = (
    POLICY_ACCEPTED,
    MODEL_CREATED,
    WATERMARK_COMMITTED,
    VERSION_REGISTERED,
    PROPOSAL_CREATED,
    APPROVAL_ADDED,
    POINTER_MOVED,
    VERSION_REVOKED,
    ANSWERS_ANCHORED,
    REFUSALS_COUNTED,
    API_KEY_CREATED,
    API_KEY_REVOKED,
    ARTIFACTS_COLLECTED,
    ENGINE_COUNTED,
    SUBJECT_ERASED,
    LOG_PRUNED,
    REQUEST_ALLOWED,
    SCREENING_DRIFTED,
    EVIDENCE_ATTACHED,
    PROPOSAL_REJECTED,
    PROPOSAL_WITHDRAWN,
    COMMENT_ADDED,
    PASSKEY_USED,
)
