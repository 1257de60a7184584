"""AuditService and LogService: messages in, messages out; each answer carries its proof."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.recording import GatewayStore, SearchRecord, SubjectErasure
from gateway.services.event_streams import LogWatch
from gateway.services.registry_messages import asked
from gateway.sessions import FlaggedSessions
from gateway.timestamps import TimestampUpdater
from registry.answers import SEARCHABLE, SINCE, UNTIL
from registry.audit import AuditTrail, EntryProof
from registry.listing import list_page
from registry.log.reader import LogReader
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest
from sealgate.trust.fields import check_name
from sealgate.trust.policy import WILDCARD
from sealgate.trust.receipts import Receipt
from sealgate.trust.times import format_time, parse_micros, parse_time
from sealgate.v1 import audit_pb2 as messages
from sealgate.v1 import log_pb2 as log_messages
from sealgate.v1.audit_pb2_grpc import AuditServiceServicer
from sealgate.v1.log_pb2_grpc import LogServiceServicer

_MOST_SEQUENCE = 2**53
_MOST_VALUES = 8
_LONGEST_VALUE = 512
# A message is closed at this size, however large the documents are.
_MESSAGE_BYTES = 1 << 20

Part = TypeVar("Part")
SearchAnswers = Callable[[str, int, int, Sequence[str], Mapping[str, str]], Iterator[SearchRecord]]


class AuditService(AuditServiceServicer):
    """`AuthInterceptor` has admitted each call, and records it before its answer leaves.

    `search` looks through an answer log by its origin.
    """

    def __init__(
        self, trail: AuditTrail, search: SearchAnswers, rights: Rights, flagged: FlaggedSessions
    ) -> None:
        self._trail = trail
        self._search = search
        self._rights = rights
        self._flagged = flagged

    def ListFlaggedSessions(
        self, request: messages.ListFlaggedSessionsRequest, call: Call
    ) -> messages.ListFlaggedSessionsResponse:
        found = self._flagged.after(request.after)
        return messages.ListFlaggedSessionsResponse(
            sessions=(
                messages.FlaggedSession(**each._asdict())
                for each in found
                if self._rights.allows(call, "read", each.model)
            )
        )

    def GetLiveAt(
        self, request: messages.GetLiveAtRequest, call: Call
    ) -> messages.GetLiveAtResponse:
        self._rights.check(call, "read", check_name(request.model) if request.model else WILDCARD)
        parse_time(request.time)
        found = self._trail.live_at(request.time, request.model)
        return messages.GetLiveAtResponse(
            note=found.note, freshness=found.freshness, entries=map(_entry, found.entries)
        )

    def GetDecision(
        self, request: messages.GetDecisionRequest, call: Call
    ) -> messages.GetDecisionResponse:
        self._rights.check(call, "read", check_name(request.model))
        sequence = request.pointer_sequence
        if not 1 <= sequence < _MOST_SEQUENCE:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "pointer_sequence")
        digest = check_digest(request.version_digest)
        allowance = check_digest(request.allowance) if request.allowance else ""
        found = self._trail.decision(request.model, digest, sequence, allowance)
        return messages.GetDecisionResponse(
            note=found.note, freshness=found.freshness, entries=map(_entry, found.entries)
        )

    def StreamRecords(
        self, request: messages.StreamRecordsRequest, call: Call
    ) -> Iterator[messages.StreamRecordsResponse]:
        self._rights.check(call, "read")
        for block in self._trail.records(request.start, request.end):
            for group in _groups(map(_entry, block)):
                self._rights.check(call, "read")
                yield messages.StreamRecordsResponse(entries=group)

    def StreamOpenings(
        self, request: messages.StreamOpeningsRequest, call: Call
    ) -> Iterator[messages.StreamOpeningsResponse]:
        self._rights.check(call, "read")
        values, where = list(request.values), dict(request.where)
        wanted = [*values, *where.values()]
        if len(wanted) > _MOST_VALUES or any(not 0 < len(v) <= _LONGEST_VALUE for v in wanted):
            raise SealgateError(Reason.PARAMETER_MALFORMED, "values")
        if not where.keys() <= SEARCHABLE:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "where")
        for name in where.keys() & {SINCE, UNTIL}:
            parse_micros(where[name])
        for found in self._search(request.origin, request.start, request.end, values, where):
            self._rights.check(call, "read")
            yield messages.StreamOpeningsResponse(
                next=found.next,
                receipts=[receipt.encode() for receipt in found.receipts],
                unopened=found.unopened,
            )


def _entry(proven: EntryProof) -> messages.ProvenEntry:
    return messages.ProvenEntry(
        index=proven.index, leaf=proven.leaf, hashes=proven.hashes, documents=proven.documents
    )


def _groups(entries: Iterable[messages.ProvenEntry]) -> Iterator[list[messages.ProvenEntry]]:
    group: list[messages.ProvenEntry] = []
    size = 0
    for entry in entries:
        weight = entry.ByteSize()
        if group and size + weight > _MESSAGE_BYTES:
            yield group
            group, size = [], 0
        group.append(entry)
        size += weight
    if group:
        yield group


class LogService(LogServiceServicer):
    """Reads a gateway's logs by their origin. `open_answer` makes a receipt with every field
    opened; `erase` erases a subject, in somebody's name, from an answer log, once for each
    request's id; `timestamps` are those on checkpoints.
    """

    def __init__(
        self,
        store: GatewayStore,
        open_answer: Callable[[str, int], Receipt],
        erase: Callable[[str, str, str, str], SubjectErasure],
        watches: Mapping[str, LogWatch],
        timestamps: TimestampUpdater,
        rights: Rights,
    ) -> None:
        self._logs, self._cose = store.logs(), store.cose_receipts()
        self._witnessed = store.witnessed
        self._open_answer = open_answer
        self._erase = erase
        self._watches = watches
        self._timestamps = timestamps
        self._rights = rights

    def ListLogs(
        self, request: log_messages.ListLogsRequest, call: Call
    ) -> log_messages.ListLogsResponse:
        page = list_page(sorted(self._logs), asked(request), "origin")
        return log_messages.ListLogsResponse(
            origins=page.records, next_page_token=page.next_page_token
        )

    def GetCheckpoint(
        self, request: log_messages.GetCheckpointRequest, call: Call
    ) -> log_messages.GetCheckpointResponse:
        log = self._log(request.origin)
        # Before the checkpoint: what is cosigned is never newer than what is shown.
        witnessed = self._witnessed.best(request.origin)
        stamped = self._timestamps.newest().get(request.origin)
        return log_messages.GetCheckpointResponse(
            note=self._witnessed.with_lines(request.origin, log.checkpoint()),
            witnessed_note=witnessed,
            first=log.first(),
            conflict=self._witnessed.disagreement(request.origin),
            stamped_time=format_time(stamped.time) if stamped else "",
            stamped_size=stamped.size if stamped else 0,
            stamp_seconds=self._timestamps.every,
        )

    def GetEntry(
        self, request: log_messages.GetEntryRequest, call: Call
    ) -> log_messages.GetEntryResponse:
        return log_messages.GetEntryResponse(leaf=self._log(request.origin).entry(request.index))

    def StreamEntries(
        self, request: log_messages.StreamEntriesRequest, call: Call
    ) -> Iterator[log_messages.StreamEntriesResponse]:
        for leaves in self._log(request.origin).entries(request.start, request.end):
            yield log_messages.StreamEntriesResponse(leaves=leaves)

    def WatchLog(
        self, request: log_messages.WatchLogRequest, call: Call
    ) -> Iterator[log_messages.WatchLogResponse]:
        yield from _of(self._watches, request.origin).stream(request, call)

    def OpenEntry(
        self, request: log_messages.OpenEntryRequest, call: Call
    ) -> log_messages.OpenEntryResponse:
        # Which model it is about, only the opened entry says.
        self._rights.check(call, "read")
        receipt = self._open_answer(request.origin, request.index)
        return log_messages.OpenEntryResponse(receipt=receipt.encode())

    def StreamHashes(
        self, request: log_messages.StreamHashesRequest, call: Call
    ) -> Iterator[log_messages.StreamHashesResponse]:
        level = request.level
        for hashes in self._log(request.origin).hashes(request.start, request.end, level):
            yield log_messages.StreamHashesResponse(hashes=hashes, level=level)

    def StreamTimestamps(
        self, request: log_messages.StreamTimestampsRequest, call: Call
    ) -> Iterator[log_messages.StreamTimestampsResponse]:
        origin = self._log(request.origin).origin
        for stamped in self._timestamps.store.stamps(origin):
            yield log_messages.StreamTimestampsResponse(note=stamped.note, stamp=stamped.stamp)

    def EraseSubject(
        self, request: log_messages.EraseSubjectRequest, call: Call
    ) -> log_messages.EraseSubjectResponse:
        if not request.subject:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "no subject")
        erased = self._erase(
            call.principal.name, request.origin, request.subject, request.request_id
        )
        return log_messages.EraseSubjectResponse(pseudonym=erased.pseudonym, entries=erased.entries)

    def GetInclusionProof(
        self, request: log_messages.GetInclusionProofRequest, call: Call
    ) -> log_messages.GetInclusionProofResponse:
        hashes = self._log(request.origin).inclusion(request.index, request.size)
        return log_messages.GetInclusionProofResponse(hashes=hashes)

    def GetConsistencyProof(
        self, request: log_messages.GetConsistencyProofRequest, call: Call
    ) -> log_messages.GetConsistencyProofResponse:
        hashes = self._log(request.origin).consistency(request.old_size, request.new_size)
        return log_messages.GetConsistencyProofResponse(hashes=hashes)

    def GetCoseReceipt(
        self, request: log_messages.GetCoseReceiptRequest, call: Call
    ) -> log_messages.GetCoseReceiptResponse:
        receipt = _of(self._cose, request.origin).receipt(request.index)
        return log_messages.GetCoseReceiptResponse(receipt=receipt.encode())

    def GetTransparentStatement(
        self, request: log_messages.GetTransparentStatementRequest, call: Call
    ) -> log_messages.GetTransparentStatementResponse:
        statement = _of(self._cose, request.origin).statement(request.index)
        return log_messages.GetTransparentStatementResponse(statement=statement.encode())

    def _log(self, origin: str) -> LogReader:
        return _of(self._logs, origin)


def _of(parts: Mapping[str, Part], origin: str) -> Part:
    part = parts.get(origin)
    if part is None:
        raise SealgateError(Reason.LOG_UNKNOWN)
    return part
