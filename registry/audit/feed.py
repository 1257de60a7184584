"""The stream of changes in the registry's log, each with the record that it made.

Both are read from append-only tables, so an entry always reads the same. A record describes the
state at its entry, not the present state.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from registry.log.reader import LogReader
from registry.models import Versions
from registry.promotion import OPEN, REJECTED, WITHDRAWN, Proposals, pointer_record
from registry.state import events
from registry.state.records import ModelRecord, PointerRecord, ProposalRecord, VersionRecord
from registry.state.unit_of_work import Ledger
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import merkle

# In bytes, of what a change tells of a version; ready versions have some 20 kB.
LARGEST_EVIDENCE = 256 << 10
Record = ModelRecord | VersionRecord | ProposalRecord | PointerRecord | bytes


@dataclass(frozen=True, slots=True)
class FeedChange:
    """Entry `entry` of the log. `model` and `alias` are empty where it is about none.

    `record` is the envelope of a policy; without a record, the subject says all.
    """

    entry: int
    event: str
    time: str
    principal: str
    subject: str
    leaf_hash: bytes
    model: str = ""
    alias: str = ""
    record: Record | None = None


class Feed:
    """Reads changes by their place in the log."""

    def __init__(
        self, ledger: Ledger, log: LogReader, versions: Versions, proposals: Proposals
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._versions = versions
        self._proposals = proposals
        self._told: Mapping[str, tuple[events.Event, Callable[[RowMapping], dict[str, Any]]]] = {
            event.name: (event, tell)
            for event, tell in (
                (events.POLICY_ACCEPTED, lambda row: {"record": bytes(row["envelope"])}),
                (events.MODEL_CREATED, _model),
                (events.WATERMARK_COMMITTED, lambda row: {"model": row["model"]}),
                (events.VERSION_REGISTERED, self._registered),
                (events.PROPOSAL_CREATED, lambda row: self._proposal(row["digest"], state=OPEN)),
                (events.APPROVAL_ADDED, self._approved),
                (events.PROPOSAL_REJECTED, self._rejected),
                (events.PROPOSAL_WITHDRAWN, self._withdrawn),
                (events.COMMENT_ADDED, self._commented),
                (events.POINTER_MOVED, _moved),
                (events.VERSION_REVOKED, self._revoked),
                (events.SCREENING_DRIFTED, self._drifted),
            )
        }

    def read(self, start: int, end: int) -> tuple[FeedChange | None, ...]:
        """Return what the entries from `start` up to `end` tell, None for those that do not
        concern a model or the policy. Raises SealgateError: ENTRY_UNKNOWN, REGISTRY_UNAVAILABLE.
        """
        leaves = [leaf for block in self._log.entries(start, end) for leaf in block]
        return tuple(self._change(index, leaf) for index, leaf in enumerate(leaves, start))

    def _change(self, index: int, leaf: bytes) -> FeedChange | None:
        entry = json.loads(leaf)
        if entry["event"] not in self._told:
            return None
        event, tell = self._told[entry["event"]]
        with self._ledger.view() as connection:
            row = _row(connection, event, index)
        named = {name: entry[name] for name in ("event", "time", "principal", "subject")}
        return FeedChange(index, **named, leaf_hash=merkle.leaf_hash(leaf), **tell(row))

    def _registered(self, row: RowMapping) -> dict[str, Any]:
        return {"model": row["model"], "record": replace(self._version(row), revocation_reason="")}

    def _revoked(self, row: RowMapping) -> dict[str, Any]:
        return {"model": row["model"], "record": self._version(row)}

    def _drifted(self, row: RowMapping) -> dict[str, Any]:
        version = replace(self._version(row), revocation_reason="")
        return {"model": row["model"], "record": replace(version, screening_withdrawn=row["time"])}

    def _version(self, row: RowMapping) -> VersionRecord:
        """Return a version as it was registered, without later evidence or a withdrawn bound.

        Much evidence is left out: followers of the log keep pages of changes in memory, and a
        change that fits into no message would end all of them at its place.
        """
        record = self._versions.get(row["model"], row["version"])
        told = record.evidence if sum(map(len, record.evidence)) <= LARGEST_EVIDENCE else ()
        return replace(record, evidence=told, screening_withdrawn="", attached=())

    def _approved(self, row: RowMapping) -> dict[str, Any]:
        return self._proposal(row["proposal"], approvals=_envelope(row), state=OPEN)

    def _rejected(self, row: RowMapping) -> dict[str, Any]:
        return self._proposal(row["proposal"], rejections=_envelope(row), state=REJECTED)

    def _withdrawn(self, row: RowMapping) -> dict[str, Any]:
        return self._proposal(row["proposal"], withdrawal=_envelope(row)[0], state=WITHDRAWN)

    def _commented(self, row: RowMapping) -> dict[str, Any]:
        return self._proposal(row["proposal"], comments=_envelope(row))

    def _proposal(self, digest: str, **told: Any) -> dict[str, Any]:
        """Return a proposal with what the entry tells of it, and nothing that came later."""
        nothing = {
            "approvals": (),
            "rejections": (),
            "withdrawal": b"",
            "comments": (),
            "state": "",
        }
        record = replace(self._proposals.get(digest), **nothing | told)
        return {"model": record.model, "alias": record.alias, "record": record}


def _envelope(row: RowMapping) -> tuple[bytes]:
    return (bytes(row["envelope"]),)


def _row(connection: Connection, event: events.Event, index: int) -> RowMapping:
    query = select(event.table).where(event.table.c.entry == index)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"entry {index} has no row")
    return row


def _model(row: RowMapping) -> dict[str, Any]:
    model = row["model"]
    return {
        "model": model,
        "record": ModelRecord(model, row["principal"], row["time"], 0, row["entry"]),
    }


def _moved(row: RowMapping) -> dict[str, Any]:
    return {"model": row["model"], "alias": row["alias"], "record": pointer_record(row)}
