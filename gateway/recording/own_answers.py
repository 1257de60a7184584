"""The gateway's own answer log, as its services look into it: by its origin, and no other's."""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.recording.erasure import Erasure
from gateway.recording.recorder import AuditRecorder, SearchRecord
from registry.audit.erasures import Erasures, RecordedErasure
from registry.state.unit_of_work import RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import SALT_BYTES, pseudonym


@dataclass(frozen=True, slots=True)
class SubjectErasure:
    """Under which pseudonym the registry's log tells of it, and how many entries can be opened no
    more.
    """

    pseudonym: str
    entries: int


def erase_subject(
    erasures: Erasures,
    recorder: AuditRecorder,
    principal: str,
    origin: str,
    subject: str,
    request_id: str = "",
) -> SubjectErasure:
    """Erase a subject from this gateway's answer log `origin`, in the name of `principal`.

    The registry's log tells of it first, and how many entries it closes, so nothing is ever gone
    without its entry. A repeated request finishes what the first may have left undone; the log
    tells of it again only where there is more to close by now. Raises as `RequestKey`,
    `Erasures.add` and `AuditRecorder.erase` do.
    """
    once = _once(request_id, origin, subject) if request_id else None
    names = [pseudonym(subject, secrets.token_bytes(SALT_BYTES)) for _ in range(2)]
    # Where an erasure broke off, fewer entries are closed than the log says. If it was this
    # subject's, they must not be counted again.
    broken_off = erasures.erased(origin).entries > recorder.closed()
    start = erasures.told_until(origin, subject) if broken_off else 0
    told: list[RecordedErasure] = []

    def tell(erasure: Erasure) -> None:
        first = erasures.add(principal, origin, names[0], erasure.closing(start), once)
        told.append(first)
        if first.repeated:
            more = erasure.closing(max(start, first.size))
            if more.entries or more.key_digest not in (None, first.key_digest):
                erasures.add(principal, origin, names[1], more)

    removed = recorder.erase(subject, tell)
    return SubjectErasure(told[0].pseudonym, removed)


def _once(request_id: str, origin: str, subject: str) -> RequestKey:
    """By what the request is known again. Its digest outlives the subject's name here, so it is as
    slow to guess from as a pseudonym.
    """
    salt = hashlib.sha256(request_id.encode("utf-8")).digest()[:SALT_BYTES]
    return RequestKey(request_id, sha256(f"{origin} {pseudonym(subject, salt)}".encode()))


class OwnAnswers:
    """Every method raises LOG_UNKNOWN for another origin."""

    def __init__(
        self,
        origin: str,
        recorder: AuditRecorder,
        erasures: Erasures,
        erased: Callable[[], None] = lambda: None,
    ) -> None:
        """`erased` is called after each erasure."""
        self._origin = origin
        self._erased = erased
        self._recorder = recorder
        self._erasures = erasures

    def open(self, origin: str, index: int) -> Receipt:
        """See `AuditRecorder.open`. Raises ENTRY_ERASED instead of OPENING_MISSING where the
        erasures of which the registry's log tells explain it.
        """
        self._check(origin)
        try:
            return self._recorder.open(index)
        except SealgateError as refusal:
            if refusal.reason is Reason.OPENING_MISSING and self._is_erased(index):
                raise SealgateError(Reason.ENTRY_ERASED, refusal.detail) from refusal
            raise

    def _is_erased(self, index: int) -> bool:
        """Whether an erasure may have closed an entry: the log told of one when the entry was
        there, and no more entries are closed than all erasures have closed.
        """
        erased = self._erasures.erased(self._origin)
        if erased.uncounted:
            return True
        # An erasure that broke off has left openings whose key is destroyed.
        closed = self._recorder.closed_by_memory(index) + self._recorder.has_opening(index)
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
        try:
            return erase_subject(
                self._erasures, self._recorder, principal, origin, subject, request_id
            )
        finally:
            self._erased()

    def _check(self, origin: str) -> None:
        if origin != self._origin:
            raise SealgateError(Reason.LOG_UNKNOWN)
