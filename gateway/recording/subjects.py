"""Erasing a subject: whom records are about is forgotten, what was recorded still verifies."""

import hashlib
import secrets
from dataclasses import dataclass

from gateway.recording.erasure import Erasure
from gateway.recording.recorder import AuditRecorder
from registry.audit.erasures import Erasures, RecordedErasure
from registry.state.requests import RequestKey
from sealgate.trust.canonical import sha256
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
