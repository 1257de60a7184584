"""The gateway's own answer log, as its services look into it: by its origin, and no other's."""

from collections.abc import Iterator, Mapping, Sequence

from gateway.recording.recorder import AuditRecorder, SearchRecord
from gateway.recording.subjects import SubjectErasure, erase_subject
from registry.audit.erasures import Erasures
from sealgate.reasons import Reason, Refusal
from sealgate.trust.receipts import Receipt


class OwnAnswers:
    """Every method raises LOG_UNKNOWN for another origin."""

    def __init__(self, origin: str, recorder: AuditRecorder, erasures: Erasures) -> None:
        self._origin = origin
        self._recorder = recorder
        self._erasures = erasures

    def open(self, origin: str, index: int) -> Receipt:
        """See `AuditRecorder.open`. Raises ENTRY_ERASED instead of OPENING_MISSING where the
        erasures of which the registry's log tells explain it.
        """
        self._check(origin)
        try:
            return self._recorder.open(index)
        except Refusal as refusal:
            if refusal.reason is Reason.OPENING_MISSING and self._is_erased(index):
                raise Refusal(Reason.ENTRY_ERASED, refusal.detail) from refusal
            raise

    def _is_erased(self, index: int) -> bool:
        """Whether an erasure may have closed an entry: the log told of one when the entry was
        there, and no more entries are closed than all erasures have closed.
        """
        erased = self._erasures.erased(self._origin)
        if erased.uncounted:
            return True
        # An erasure that broke off has left openings whose key is destroyed.
        closed = self._recorder.closed() + self._recorder.has_opening(index)
        return index < erased.size and closed <= erased.entries

    def search(
        self,
        origin: str,
        start: int,
        end: int,
        values: Sequence[str],
        where: Mapping[str, str],
    ) -> Iterator[SearchRecord]:
        """See `AuditRecorder.search`."""
        self._check(origin)
        return self._recorder.search(start, end, values, where)

    def erase(self, principal: str, origin: str, subject: str, request_id: str) -> SubjectErasure:
        """See `erase_subject`."""
        self._check(origin)
        return erase_subject(self._erasures, self._recorder, principal, origin, subject, request_id)

    def _check(self, origin: str) -> None:
        if origin != self._origin:
            raise Refusal(Reason.LOG_UNKNOWN)
