"""The auditors' service: messages in, messages out; each answer carries what proves it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from gateway.auth.rights import Rights
from gateway.calls.call import Call
from gateway.recording.recorder import SearchRecord
from registry.answers.openings import SEARCHABLE
from registry.audit.trail import AuditTrail, Proven
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.fields import check_name
from sealgate.trust.policy.rights import ALL
from sealgate.trust.times import parse_time
from sealgate.v1 import audit_pb2 as messages
from sealgate.v1.audit_pb2_grpc import AuditServiceServicer

_MOST_SEQUENCE = 2**53
_MOST_VALUES = 8
_LONGEST_VALUE = 512
_LONGEST_REQUEST = 1024
# What one message holds must fit into one, whatever the documents weigh.
_MESSAGE_BYTES = 1 << 20

SearchAnswers = Callable[[str, int, int, Sequence[str], Mapping[str, str]], Iterator[SearchRecord]]


class AuditService(AuditServiceServicer):
    """`AuthInterceptor` has admitted each call, and records it before its answer leaves.

    `search` looks through an answer log by its origin.
    """

    def __init__(self, trail: AuditTrail, search: SearchAnswers, rights: Rights) -> None:
        self._trail = trail
        self._search = search
        self._rights = rights

    def GetLiveAt(
        self, request: messages.GetLiveAtRequest, call: Call
    ) -> messages.GetLiveAtResponse:
        self._rights.check(call, "read", check_name(request.model) if request.model else ALL)
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
        for found in self._search(request.origin, request.start, request.end, values, where):
            self._rights.check(call, "read")
            yield messages.StreamOpeningsResponse(
                next=found.next,
                receipts=[receipt.encode() for receipt in found.receipts],
                unopened=found.unopened,
            )


def request_text(request: Message) -> str:
    """What was asked, as an entry about it says: canonical JSON, or its digest if it is long."""
    told = canonical.encode(MessageToDict(request, preserving_proto_field_name=True))
    return told.decode() if len(told) <= _LONGEST_REQUEST else sha256(told)


def _entry(proven: Proven) -> messages.ProvenEntry:
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
