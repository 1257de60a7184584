"""Entries of the registry's log with proofs and documents, for auditors.

Nothing here is to be believed by whoever gets it: an entry is proved by its log, a document by the
digest that its entry names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Table, select

from registry.log import rows
from registry.log.rows import TileRows, inconsistent, newest_checkpoint
from registry.models import evidence_of
from registry.policy import stored_envelope
from registry.state import events
from registry.state.schema import (
    ALLOWANCES,
    APPROVALS,
    ATTACHMENTS,
    LOG,
    POINTERS,
    PROPOSALS,
    REVOCATIONS,
    VERSIONS,
)
from registry.state.unit_of_work import Ledger
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness
from sealgate.trust.statements.covering import revocation_names
from sealgate.trust.transparency import tiles

LARGEST_BLOCK = 256


@dataclass(frozen=True, slots=True)
class EntryProof:
    """Entry `index` of the log: its bytes, the 32-byte hashes of its inclusion proof (none where
    the whole log is shown), and the documents that it names by digest, in no order.
    """

    index: int
    leaf: bytes
    hashes: tuple[bytes, ...] = ()
    documents: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistryExcerpt:
    """Entries proved under the signed checkpoint `note`, and the newest freshness envelope."""

    note: str
    freshness: bytes
    entries: tuple[EntryProof, ...]


class AuditTrail:
    """Reads the record for auditors, each answer from one state of it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def live_at(self, time: str, model: str = "") -> RegistryExcerpt:
        """The last move of each alias up to `time`, the first one after it, and the revocation of
        what they name. `time` is text as in the log; an empty `model` means all.

        Raises SealgateError: POINTER_STALE before the first policy, REGISTRY_UNAVAILABLE.
        """
        with self._ledger.view() as connection:
            freshness = _freshness(connection)
            found: list[RowMapping] = []
            for place, _, _ in _statement(freshness).pointers:
                name, _, alias = place.partition("/")
                if model in ("", name):
                    found += _around(connection, name, alias, time)
            versions = {(row["model"], row["version_digest"]) for row in found}
            indices = [row["entry"] for row in found] + _revocations(connection, versions)
            return _excerpt(connection, freshness, indices, with_documents=False)

    def decision(
        self, model: str, version_digest: str, sequence: int, allowance: str = ""
    ) -> RegistryExcerpt:
        """Return everything that an answer of this model, version and pointer sequence depends on,
        with later evidence and the use of an allowance, by its digest.

        Raises SealgateError: VERSION_UNKNOWN, and like `live_at`.
        """
        with self._ledger.view() as connection:
            freshness = _freshness(connection)
            here = (VERSIONS.c.model == model, VERSIONS.c.digest == version_digest)
            version = connection.scalar(select(VERSIONS.c.entry).where(*here))
            if version is None:
                raise SealgateError(Reason.VERSION_UNKNOWN)
            indices = [int(version), *_revocations(connection, {(model, version_digest)})]
            indices += _attached(connection, model, version_digest)
            used = (ALLOWANCES.c.digest == allowance, ALLOWANCES.c.model == model)
            indices += connection.scalars(select(ALLOWANCES.c.entry).where(*used))
            for place, _, _ in _statement(freshness).pointers:
                name, _, alias = place.partition("/")
                if name == model:
                    moves = _moves(connection, model, alias, sequence, 2)
                    if moves and _is(moves[0], sequence, version_digest):
                        indices += [row["entry"] for row in moves]
                        indices += _basis(connection, moves[0]["digest"])
            return _excerpt(connection, freshness, indices)

    def records(self, start: int, end: int) -> Iterator[list[EntryProof]]:
        """The entries from `start` up to `end` with their documents, in blocks of at most 256.

        Raises SealgateError: ENTRY_UNKNOWN for an empty range, or one that the log does not have.
        """
        with self._ledger.view() as connection:
            newest = newest_checkpoint(connection, LOG)
        if newest is None or not 0 <= start < end <= newest.size:
            raise SealgateError(Reason.ENTRY_UNKNOWN, f"no entries {start} to {end}")
        for first in range(start, end, LARGEST_BLOCK):
            last = min(first + LARGEST_BLOCK, end)
            # Each in a transaction of its own, so a slow taker holds up nobody.
            with self._ledger.view() as connection:
                (block,) = rows.leaves(connection, LOG, first, last)
                documents = _documents(connection, first, last)
            yield [
                EntryProof(index, leaf, (), documents.get(index, ()))
                for index, leaf in enumerate(block, first)
            ]


def _freshness(connection: Connection) -> bytes:
    envelope = stored_envelope(connection)
    if envelope is None:
        raise SealgateError(Reason.POINTER_STALE, "there is no freshness statement")
    return envelope


def _statement(envelope: bytes) -> Freshness:
    return Freshness.decode(Envelope.decode(envelope).payload)


def _around(connection: Connection, model: str, alias: str, time: str) -> list[RowMapping]:
    """The last move up to a time and the first one after it, as far as there are such."""
    here = (POINTERS.c.model == model, POINTERS.c.alias == alias, POINTERS.c.time <= time)
    order = (POINTERS.c.time.desc(), POINTERS.c.sequence.desc())
    query = select(POINTERS.c.sequence).where(*here).order_by(*order).limit(1)
    sequence = connection.scalar(query) or 0
    while True:
        moves = _moves(connection, model, alias, sequence, 2)
        if len(moves) < 2 or moves[1]["time"] > time:
            return moves
        # Where clocks differ, the move that follows may bear an earlier time.
        sequence += 1


def _moves(
    connection: Connection, model: str, alias: str, sequence: int, number: int
) -> list[RowMapping]:
    here = (POINTERS.c.model == model, POINTERS.c.alias == alias)
    first = (POINTERS.c.sequence >= sequence, POINTERS.c.sequence < sequence + number)
    query = select(*_MOVE).where(*here, *first).order_by(POINTERS.c.sequence)
    return list(connection.execute(query).mappings())


# All but the bundle.
_TOLD = ("model", "sequence", "version_digest", "digest", "time", "entry")
_MOVE = tuple(POINTERS.c[name] for name in _TOLD)


def _is(row: RowMapping, sequence: int, version_digest: str) -> bool:
    return (row["sequence"], row["version_digest"]) == (sequence, version_digest)


def _basis(connection: Connection, pointer: str) -> list[int]:
    """The entries of the proposal and the approvals that the bundle of a pointer holds."""
    bundle = connection.execute(select(POINTERS.c.bundle).where(POINTERS.c.digest == pointer))
    value = canonical.decode(bytes(bundle.scalar_one()))
    promotion = value.get("returned", value)
    proposal = Envelope.from_json(promotion["proposal"]).payload_digest
    approvals = [Envelope.from_json(item).payload_digest for item in promotion["approvals"]]
    found = connection.scalars(select(PROPOSALS.c.entry).where(PROPOSALS.c.digest == proposal))
    signed = connection.scalars(select(APPROVALS.c.entry).where(APPROVALS.c.digest.in_(approvals)))
    return [*found, *signed]


def _revocations(connection: Connection, versions: Iterable[tuple[str, str]]) -> list[int]:
    """The entries that revoke one of `versions`, each a model and a digest."""
    wanted = sorted({name for version in versions for name in revocation_names(*version)})
    query = select(REVOCATIONS.c.entry).where(REVOCATIONS.c.version_digest.in_(wanted))
    return list(connection.scalars(query))


def _attached(connection: Connection, model: str, version_digest: str) -> list[int]:
    same = (ATTACHMENTS.c.model == VERSIONS.c.model, ATTACHMENTS.c.version == VERSIONS.c.version)
    here = (VERSIONS.c.model == model, VERSIONS.c.digest == version_digest)
    return list(connection.scalars(select(ATTACHMENTS.c.entry).where(*same, *here)))


def _excerpt(
    connection: Connection, freshness: bytes, wanted: Iterable[int], *, with_documents: bool = True
) -> RegistryExcerpt:
    newest = newest_checkpoint(connection, LOG)
    if newest is None:
        raise SealgateError(Reason.LOG_UNKNOWN, "the log was never opened")
    indices = sorted(set(wanted))
    table = LOG.leaves
    query = select(table).where(table.c.index.in_(indices))
    leaves = {r["index"]: bytes(r["data"]) for r in connection.execute(query).mappings()}
    if leaves.keys() != set(indices):
        raise inconsistent("an entry of the log is missing")
    proofs = tiles.inclusion_proofs(TileRows(connection, LOG), indices, newest.size)
    entries = []
    for index, hashes in zip(indices, proofs, strict=True):
        leaf, documents = leaves[index], dict[int, tuple[bytes, ...]]()
        if with_documents:
            documents = _documents(connection, index, index + 1, _event(leaf))
        entries.append(EntryProof(index, leaf, tuple(hashes), documents.get(index, ())))
    return RegistryExcerpt(newest.note, freshness, tuple(entries))


def _event(leaf: bytes) -> str:
    entry = canonical.decode(leaf)
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        raise inconsistent("an entry that is no event")
    return str(entry["event"])


def _documents(
    connection: Connection, start: int, end: int, event: str = ""
) -> dict[int, tuple[bytes, ...]]:
    """The documents of the entries from `start` up to `end`, of one kind of event or of all."""
    found: dict[int, tuple[bytes, ...]] = {}
    for name, (table, read) in _DOCUMENTS.items():
        if event in ("", name):
            query = select(table).where(table.c.entry >= start, table.c.entry < end)
            for row in connection.execute(query).mappings():
                found[row["entry"]] = tuple(read(connection, row))
    return found


def _column(name: str) -> Callable[[Connection, RowMapping], list[bytes]]:
    return lambda connection, row: [bytes(row[name])]


def _of_version(connection: Connection, row: RowMapping) -> list[bytes]:
    items = evidence_of(connection, row["model"], row["version"])
    evidence = [bytes(item["envelope"]) for item in items]
    return [bytes(row["manifest"]), bytes(row["signature"]), *evidence]


_Read = Callable[[Connection, RowMapping], list[bytes]]
_DOCUMENTS: Mapping[str, tuple[Table, _Read]] = {
    event.name: (event.table, read)
    for event, read in (
        (events.POLICY_ACCEPTED, _column("envelope")),
        (events.VERSION_REGISTERED, _of_version),
        (events.PROPOSAL_CREATED, _column("envelope")),
        (events.APPROVAL_ADDED, _column("envelope")),
        (events.PROPOSAL_REJECTED, _column("envelope")),
        (events.PROPOSAL_WITHDRAWN, _column("envelope")),
        (events.COMMENT_ADDED, _column("envelope")),
        (events.POINTER_MOVED, _column("bundle")),
        (events.VERSION_REVOKED, _column("envelope")),
        (events.ENGINE_COUNTED, _column("envelope")),
        (events.REQUEST_ALLOWED, _column("envelope")),
        (events.EVIDENCE_ATTACHED, _column("envelope")),
    )
}
