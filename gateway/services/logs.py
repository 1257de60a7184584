"""The logs' service: checkpoints, entries and proofs of every log behind this gateway."""

from collections.abc import Callable, Iterator, Mapping

from gateway.auth.rights import Rights
from gateway.calls.call import Call
from gateway.recording.own_answers import SubjectErasure
from gateway.services.event_streams import LogWatch
from gateway.services.request_fields import asked
from gateway.witnesses.cosignatures import CosignatureStore
from registry.listing.paging import list_page
from registry.log.reader import LogReader
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts import Receipt
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceServicer


class LogService(LogServiceServicer):
    """Reads logs by their origin. `open_answer` makes a receipt with every field opened; `erase`
    erases a subject, in somebody's name, from an answer log, once for each request's id.
    """

    def __init__(
        self,
        logs: Mapping[str, LogReader],
        watches: Mapping[str, LogWatch],
        open_answer: Callable[[str, int], Receipt],
        witnessed: CosignatureStore,
        erase: Callable[[str, str, str, str], SubjectErasure],
        rights: Rights,
    ) -> None:
        self._logs = logs
        self._watches = watches
        self._open_answer = open_answer
        self._witnessed = witnessed
        self._erase = erase
        self._rights = rights

    def ListLogs(self, request: messages.ListLogsRequest, call: Call) -> messages.ListLogsResponse:
        page = list_page(sorted(self._logs), asked(request), "origin")
        return messages.ListLogsResponse(origins=page.records, next_page_token=page.next_page_token)

    def GetCheckpoint(
        self, request: messages.GetCheckpointRequest, call: Call
    ) -> messages.GetCheckpointResponse:
        log = self._log(request.origin)
        # Before the checkpoint: what is cosigned is never newer than what is shown.
        witnessed = self._witnessed.best(request.origin)
        return messages.GetCheckpointResponse(
            note=self._witnessed.with_lines(request.origin, log.checkpoint()),
            witnessed_note=witnessed,
            first=log.first(),
        )

    def GetEntry(self, request: messages.GetEntryRequest, call: Call) -> messages.GetEntryResponse:
        return messages.GetEntryResponse(leaf=self._log(request.origin).entry(request.index))

    def StreamEntries(
        self, request: messages.StreamEntriesRequest, call: Call
    ) -> Iterator[messages.StreamEntriesResponse]:
        for leaves in self._log(request.origin).entries(request.start, request.end):
            yield messages.StreamEntriesResponse(leaves=leaves)

    def WatchLog(
        self, request: messages.WatchLogRequest, call: Call
    ) -> Iterator[messages.WatchLogResponse]:
        watch = self._watches.get(request.origin)
        if watch is None:
            raise SealgateError(Reason.LOG_UNKNOWN)
        yield from watch.stream(request, call)

    def OpenEntry(
        self, request: messages.OpenEntryRequest, call: Call
    ) -> messages.OpenEntryResponse:
        # Which model it is about, only the opened entry says.
        self._rights.check(call, "read")
        receipt = self._open_answer(request.origin, request.index)
        return messages.OpenEntryResponse(receipt=receipt.encode())

    def StreamHashes(
        self, request: messages.StreamHashesRequest, call: Call
    ) -> Iterator[messages.StreamHashesResponse]:
        level = request.level
        for hashes in self._log(request.origin).hashes(request.start, request.end, level):
            yield messages.StreamHashesResponse(hashes=hashes, level=level)

    def EraseSubject(
        self, request: messages.EraseSubjectRequest, call: Call
    ) -> messages.EraseSubjectResponse:
        if not request.subject:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "no subject")
        erased = self._erase(
            call.principal.name, request.origin, request.subject, request.request_id
        )
        return messages.EraseSubjectResponse(pseudonym=erased.pseudonym, entries=erased.entries)

    def GetInclusionProof(
        self, request: messages.GetInclusionProofRequest, call: Call
    ) -> messages.GetInclusionProofResponse:
        hashes = self._log(request.origin).inclusion(request.index, request.size)
        return messages.GetInclusionProofResponse(hashes=hashes)

    def GetConsistencyProof(
        self, request: messages.GetConsistencyProofRequest, call: Call
    ) -> messages.GetConsistencyProofResponse:
        hashes = self._log(request.origin).consistency(request.old_size, request.new_size)
        return messages.GetConsistencyProofResponse(hashes=hashes)

    def _log(self, origin: str) -> LogReader:
        log = self._logs.get(origin)
        if log is None:
            raise SealgateError(Reason.LOG_UNKNOWN)
        return log
