"""Replays the registry's log and compares the result with the database, row by row.

This shows what somebody with full SQL access changed. The log decides: its newest checkpoint is
signed, and each leaf under that root describes one row, column by column (`replay`).

Some data is not in the log and can't be compared: ids of repeated requests (`requests`), how often
writers took over (`log_writer.epoch`), and older checkpoints. An old copy of the whole database
with its log is consistent in itself; only someone who remembers a newer checkpoint can tell
(`audit follow`, every client).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, Table, or_, select

from registry.log.inspection import Difference, Edit, LogInspection, inspect_log, key_text
from registry.state.events import EVENTS, Event
from registry.state.logged_state import LoggedFacts, unmoved_rejections
from registry.state.replay import Key, ReplayedRow, compared, key_of, replay, shown
from registry.state.schema import (
    EVIDENCE,
    FRESHNESS,
    LOG,
    REQUESTS,
    VERSIONS,
)
from sealgate.reasons import SealgateError
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, Freshness
from sealgate.trust.transparency import merkle, origin_of

_BLOCK = 1024
_ENTRY_UNKNOWN = "unknown, for its entry was edited too"

Row = RowMapping


@dataclass(slots=True)
class _Replayed:
    """The state from the replayed entries, as far as later entries need it."""

    facts: LoggedFacts = field(default_factory=LoggedFacts)
    versions: set[tuple[str, int]] = field(default_factory=set)
    # Time and principal of the entries that remembered requests name.
    requested: dict[int, tuple[str, str]] = field(default_factory=dict)
    # Rows that no entry of their block tells of, until their own entry comes, if it does.
    surplus: dict[tuple[str, Key], Row] = field(default_factory=dict)
    moved: set[tuple[str, Key]] = field(default_factory=set)


class Rebuild:
    """One comparison, in the transaction of `connection`, under a policy that is not the
    database's own.
    """

    def __init__(self, connection: Connection, policy: Policy) -> None:
        self._connection = connection
        self._policy = policy
        self._seen = _Replayed()
        self._requested = set(connection.scalars(select(REQUESTS.c.entry)))
        self.size = 0
        """How many entries the newest signed checkpoint covers, once the comparison has begun."""

    def differences(self) -> Iterator[Difference]:
        """Every difference, in the order of these steps:

        1. The log's own tables (`examine`).
        2. Each entry that the signed root covers tells a row: it is there, and in each column what
           the entry says; for a version, its evidence too.
        3. No row is there that no entry tells of.
        4. The freshness statement is signed and says what the entries say.
        5. Requests that are remembered name an entry by their caller, of their time.
        """
        # 1.
        origin = origin_of(self._policy.registry_log)
        log = inspect_log(self._connection, LOG, self._policy.log_key(origin))
        self.size = log.size
        yield from log.differences
        # 2.
        for first in range(0, log.size, _BLOCK):
            yield from self._block(log, first, min(first + _BLOCK, log.size))
        # 3.
        yield from self._surplus(log.size)
        # 4.
        yield from self._freshness()
        # 5.
        yield from self._requests()

    def _block(self, log: LogInspection, first: int, last: int) -> Iterator[Difference]:
        leaves = self._leaves(first, last)
        rows = self._rows(first, last)
        for index in range(first, last):
            leaf = leaves.get(index, b"")
            if not log.is_told(index, leaf):
                yield from self._without_leaf(log, index, rows)
                continue
            told = replay(index, leaf)
            if told is None:
                continue
            self._note(index, told)
            row = rows.pop((told.table.name, told.key), None) or self._find(told)
            yield from self._compare(told, row)
        self._seen.surplus |= rows

    def _compare(self, told: ReplayedRow, row: Row | None) -> Iterator[Difference]:
        name, key = told.table.name, key_text(told.key)
        if row is None:
            yield Difference(name, key, Edit.MISSING, "", f"entry {told.columns['entry']}")
        else:
            self._seen.surplus.pop((name, told.key), None)
            self._seen.moved.add((name, told.key))
            for column, wanted in told.columns.items():
                if not compared(row[column], wanted):
                    yield Difference(
                        name, key, Edit.ALTERED, column, shown(wanted), shown(row[column])
                    )
        if told.table is VERSIONS:
            yield from self._evidence(told)

    def _evidence(self, told: ReplayedRow) -> Iterator[Difference]:
        place = (told.columns["model"], told.columns["version"])
        here = (EVIDENCE.c.model == place[0], EVIDENCE.c.version == place[1])
        query = select(EVIDENCE).where(*here)
        rows = {row["position"]: row for row in self._connection.execute(query).mappings()}
        digests = str(told.columns["evidence"]).split()
        for position, digest in enumerate(digests):
            key, row = key_text((*place, position)), rows.pop(position, None)
            if row is None:
                yield Difference("evidence", key, Edit.MISSING, "", digest)
                continue
            envelope = bytes(row["envelope"])
            if sha256(envelope) != digest:
                yield Difference(
                    "evidence", key, Edit.ALTERED, "envelope", digest, sha256(envelope)
                )
                continue
            for column, wanted in _told_of(envelope).items():
                if row[column] != wanted:
                    yield Difference("evidence", key, Edit.ALTERED, column, wanted, row[column])
        for position in rows:
            yield Difference("evidence", key_text((*place, position)), Edit.ADDED)

    def _surplus(self, size: int) -> Iterator[Difference]:
        for event in EVENTS:
            table = event.table
            beyond = or_(table.c.entry < 0, table.c.entry >= size)
            for row in self._connection.execute(select(table).where(beyond)).mappings():
                self._seen.surplus[table.name, key_of(table, row)] = row
        for (name, key), row in self._seen.surplus.items():
            if (name, key) not in self._seen.moved:
                said = f"entry {row['entry']}, by {row['principal']} at {row['time']}"
                yield Difference(name, key_text(key), Edit.ADDED, "", "", said)
        places = select(EVIDENCE.c.model, EVIDENCE.c.version).distinct()
        for place in self._connection.execute(places):
            if tuple(place) not in self._seen.versions:
                yield Difference("evidence", key_text(tuple(place)), Edit.ADDED)

    def _freshness(self) -> Iterator[Difference]:
        rows = list(self._connection.execute(select(FRESHNESS)).mappings())
        if not any(row["slot"] == 1 for row in rows) and self.size:
            yield Difference("freshness", "1", Edit.MISSING, "", "a statement of what is live")
        for row in rows:
            key = str(row["slot"])
            if row["slot"] != 1:
                yield Difference("freshness", key, Edit.ADDED)
                continue
            statement = self._open_freshness(bytes(row["envelope"]))
            if isinstance(statement, SealgateError):
                wanted = "a statement by a freshness key"
                told = statement.reason.name
                yield Difference("freshness", key, Edit.ALTERED, "envelope", wanted, told)
                continue
            if statement.sequence != row["sequence"]:
                wanted, found = str(statement.sequence), str(row["sequence"])
                yield Difference("freshness", key, Edit.ALTERED, "sequence", wanted, found)
            facts = self._seen.facts
            unmoved = unmoved_rejections(facts)
            wanted = _summary(facts.pointers, facts.revoked, unmoved)
            said = {place: (number, digest) for place, number, digest in statement.pointers}
            revoked, rejected = set(statement.revoked), set(statement.rejected)
            seen = (facts.pointers, facts.revoked)
            # One of an earlier release names every proposal that was ever rejected.
            known = rejected in (unmoved, {*facts.rejected})
            if (said, revoked) != seen or not known:
                found = _summary(said, revoked, rejected)
                yield Difference("freshness", key, Edit.ALTERED, "envelope", wanted, found)

    def _open_freshness(self, data: bytes) -> Freshness | SealgateError:
        holders = self._policy.with_role("freshness")
        keys = {keyid: self._policy.keys[keyid] for p in holders for keyid in p.keys}
        try:
            envelope = Envelope.decode(data)
            dsse.verify(envelope, Freshness.PAYLOAD_TYPE, keys)
            return Freshness.decode(envelope.payload)
        except SealgateError as refusal:
            return refusal

    def _requests(self) -> Iterator[Difference]:
        for row in self._connection.execute(select(REQUESTS)).mappings():
            key = key_text(key_of(REQUESTS, row))
            told = self._seen.requested.get(row["entry"])
            if told is None:
                if row["entry"] >= self.size or row["entry"] < 0:
                    yield Difference(
                        "requests", key, Edit.ALTERED, "entry", "an entry", str(row["entry"])
                    )
                continue
            for column, wanted in zip(("time", "principal"), told, strict=True):
                if row[column] != wanted:
                    yield Difference("requests", key, Edit.ALTERED, column, wanted, row[column])

    def _without_leaf(
        self, log: LogInspection, index: int, rows: dict[tuple[str, Key], Row]
    ) -> Iterator[Difference]:
        """The row of an entry that cannot be read any more: whether it is the right one."""
        for (name, key), row in list(rows.items()):
            if row["entry"] != index:
                continue
            del rows[name, key]
            leaf = _EVENTS[name].entry(dict(row))
            if index < len(log.hashes) and merkle.leaf_hash(leaf) == log.hashes[index]:
                told = replay(index, leaf)
                if told is not None:
                    self._note(index, told)
                continue
            found = sha256(leaf)
            yield Difference(name, key_text(key), Edit.ALTERED, "", _ENTRY_UNKNOWN, found)

    def _note(self, index: int, told: ReplayedRow) -> None:
        columns = told.columns
        if index in self._requested:
            self._seen.requested[index] = (columns["time"], columns["principal"])
        self._seen.facts.take(told)
        if told.table is VERSIONS:
            self._seen.versions.add((columns["model"], columns["version"]))

    def _leaves(self, first: int, last: int) -> dict[int, bytes]:
        table = LOG.leaves
        query = select(table).where(table.c.index >= first, table.c.index < last)
        rows = self._connection.execute(query).mappings()
        return {int(row["index"]): bytes(row["data"]) for row in rows}

    def _rows(self, first: int, last: int) -> dict[tuple[str, Key], Row]:
        """The rows that say that they stem from these entries."""
        found: dict[tuple[str, Key], Row] = {}
        for event in EVENTS:
            table = event.table
            query = select(table).where(table.c.entry >= first, table.c.entry < last)
            for row in self._connection.execute(query).mappings():
                found[table.name, key_of(table, row)] = row
        return found

    def _find(self, told: ReplayedRow) -> Row | None:
        """A row by its key, where its own entry is not the one that it names."""
        table: Table = told.table
        where = [c == value for c, value in zip(table.primary_key, told.key, strict=True)]
        return self._connection.execute(select(table).where(*where)).mappings().one_or_none()


_EVENTS: Mapping[str, Event] = {event.table.name: event for event in EVENTS}


def _told_of(envelope: bytes) -> dict[str, str]:
    """Return the columns of a row of evidence, read from its envelope."""
    opened = Envelope.decode(envelope)
    item = Evidence.decode(opened.payload)
    return {"kind": item.kind, "digest": opened.payload_digest, "maker": item.maker}


def _summary(pointers: Mapping[str, tuple[int, str]], revoked: set[str], rejected: set[str]) -> str:
    moves = ", ".join(f"{place} move {state[0]}" for place, state in sorted(pointers.items()))
    told = f"{moves}; {len(revoked)} revoked"
    return f"{told}; {len(rejected)} rejected" if rejected else told
