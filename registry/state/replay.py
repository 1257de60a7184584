"""Turns entries of the registry's log into the table rows that they describe.

An entry says of each column of its row what it holds, or, where that is large, its digest. So the
tables can be made again as far as an auditor needs: to see in which place they differ.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, Table

from registry.state import events, schema
from registry.state.events import Event
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class HashedValue:
    """A column of which the log records only the SHA-256."""

    digest: str


@dataclass(frozen=True, slots=True)
class ReplayedRow:
    """A row as an entry describes it: its columns, by name."""

    table: Table
    columns: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """The values of the table's primary key, in its order."""
        return key_of(self.table, self.columns)


def key_of(table: Table, columns: Mapping[str, Any] | RowMapping) -> Key:
    """The values of a row's primary key, in the table's order."""
    return tuple(columns[column.name] for column in table.primary_key)


def replay(index: int, leaf: bytes) -> ReplayedRow | None:
    """The row of entry `index`; None for an entry of a kind that is not known.

    Raises SealgateError(DOCUMENT_MALFORMED), KeyError or ValueError for what is no entry of ours.
    """
    return replay_entry(index, canonical.decode(leaf))


def replay_entry(index: int, entry: Mapping[str, Any]) -> ReplayedRow | None:
    """The row of an entry of a log that was verified, whose JSON was decoded already.

    None for an entry of a kind that is not known.
    """
    event = _EVENTS.get(entry["event"])
    if event is None:
        return None
    columns: dict[str, Any] = {"entry": index}
    columns |= {name: entry[name] for name in ("time", "principal")}
    columns |= _subject(event, entry["subject"])
    columns |= dict.fromkeys(_OPTIONAL.get(event.name, ()))
    for name, value in entry["body"].items():
        column = _RENAMED.get((event.name, name), name)
        columns[column] = _value(event, column, value)
    return ReplayedRow(event.table, columns)


def compared(value: Any, told: Any) -> bool:
    """Say whether a column holds what the log records of it."""
    return (
        (sha256(_bytes(value)) == told.digest) if isinstance(told, HashedValue) else value == told
    )


def shown(value: Any) -> str:
    """A column's value for people: text and numbers as they are, what is large by its digest."""
    if isinstance(value, HashedValue):
        return value.digest
    return sha256(_bytes(value)) if isinstance(value, bytes | memoryview) else str(value)


_EVENTS: Mapping[str, Event] = {event.name: event for event in events.EVENTS}
# Where an entry's name for something is not that of its column.
_RENAMED = {
    ("proposal.created", "proposal"): "digest",
    ("approval.added", "approval"): "digest",
    ("proposal.rejected", "rejection"): "digest",
    ("proposal.withdrawn", "withdrawal"): "digest",
    ("comment.added", "comment"): "digest",
    ("pointer.moved", "pointer"): "digest",
    ("pointer.moved", "digest"): "version_digest",
    ("version.revoked", "digest"): "version_digest",
    ("answers.anchored", "checkpoint"): "note",
    ("request.allowed", "allowance"): "digest",
    ("screening.drifted", "digest"): "version_digest",
    ("evidence.attached", "item"): "digest",
}
_HASHED = {
    ("version.registered", "manifest"),
    ("version.registered", "signature"),
    ("pointer.moved", "bundle"),
    ("api-key.created", "digest"),
    ("artifacts.collected", "digests"),
}
# Columns that are empty where an entry does not tell of them.
_OPTIONAL = {
    "subject.erased": ("entries", "size", "key_digest"),
    "log.pruned": ("closed",),
}
_SUBJECTS = {
    schema.POLICIES: r"policies/(?P<version>\d+)",
    schema.MODELS: r"models/(?P<model>[^/]+)",
    schema.COMMITMENTS: r"models/(?P<model>[^/]+)",
    schema.VERSIONS: r"models/(?P<model>[^/]+)/versions/(?P<version>\d+)",
    schema.PROPOSALS: r"models/(?P<model>[^/]+)/aliases/(?P<alias>[^/]+)",
    schema.APPROVALS: r"proposals/(?P<proposal>.+)",
    schema.REJECTIONS: r"proposals/(?P<proposal>.+)",
    schema.PROPOSAL_WITHDRAWALS: r"proposals/(?P<proposal>.+)",
    schema.COMMENTS: r"proposals/(?P<proposal>.+)",
    schema.POINTERS: r"models/(?P<model>[^/]+)/aliases/(?P<alias>[^/]+)",
    schema.REVOCATIONS: r"models/(?P<model>[^/]+)/versions/(?P<version>\d+)",
    schema.ANCHORS: r"logs/(?P<origin>.+)",
    schema.REFUSALS: r"logs/(?P<origin>.+)",
    schema.API_KEYS: r"api-keys/(?P<key_id>.+)",
    schema.API_KEY_REVOCATIONS: r"api-keys/(?P<key_id>.+)",
    schema.ENGINE_COUNTS: r"engines/(?P<engine>.+)",
    schema.ERASURES: r"logs/(?P<origin>.+)",
    schema.PRUNINGS: r"logs/(?P<origin>.+)",
    schema.ALLOWANCES: r"models/(?P<model>[^/]+)",
    schema.DRIFTS: r"models/(?P<model>[^/]+)/versions/(?P<version>\d+)",
    schema.ATTACHMENTS: r"models/(?P<model>[^/]+)/versions/(?P<version>\d+)",
    schema.PASSKEY_USES: r"passkeys/(?P<keyid>.+)",
    schema.COLLECTIONS: r"collections/(?P<number>\d+)",
}
_NUMBERS = ("version", "number")


def _subject(event: Event, subject: str) -> dict[str, Any]:
    found = re.fullmatch(_SUBJECTS[event.table], subject)
    if found is None:
        raise ValueError(f"the subject of a {event.name} is {subject!r}")
    groups = found.groupdict()
    return {name: int(text) if name in _NUMBERS else text for name, text in groups.items()}


def _value(event: Event, column: str, value: Any) -> Any:
    if column == "envelope" or (event.name, column) in _HASHED:
        return HashedValue(value)
    if column in ("counts", "finding"):
        return canonical.encode(value).decode()
    return "\n".join(value) if column == "evidence" else value


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
