"""Opens what a gateway keeps on disk: the registry, its answer log, and its memory of both.

Services look into the gateway's own answer log by its origin, and into no other's.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.document import GatewayConfig
from gateway.config.opening import (
    begin,
    check_certified,
    extending,
    open_artifacts,
    open_log_key,
    open_uploads,
    opening,
)
from gateway.cosigning import CosignatureStore
from gateway.recording.erasure import Erasure
from gateway.recording.log_memory import ErasedKeys, LogMemory
from gateway.recording.recorder import AuditRecorder, SearchRecord
from registry.answers import AnswerLog, SubjectKeys
from registry.audit import Erasures, RecordedErasure
from registry.log.reader import CoseReceipts, LogReader
from registry.policy import PinnedRoot
from registry.registry import Registry
from registry.state.unit_of_work import Clock, RequestKey
from registry.storage.database import Database
from registry.uploads import OpenUploads
from sealgate.files import read_regular_file
from sealgate.private_keys import open_log_signer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PublicKey, load_public_key
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import SALT_BYTES, pseudonym
from sealgate.trust.transparency import log_vkey, open_checkpoint


@dataclass(frozen=True, slots=True)
class GatewayStore:
    """The gateway's opened databases, logs and keys."""

    roots: Mapping[str, PublicKey]
    registry: Registry
    uploads: OpenUploads
    answers: AnswerLog
    subjects: SubjectKeys
    seen_registry: LogMemory
    seen_answers: LogMemory
    witnessed: CosignatureStore
    erased: ErasedKeys

    @classmethod
    def open(cls, config: GatewayConfig, clock: Clock) -> "GatewayStore":
        keys = [load_public_key(path) for path in config.trust.root_keys]
        roots = {key.keyid: key for key in keys}
        registry, seen_registry = _open_registry(config, clock, roots)
        answers_key = open_log_key(config.answers)
        line = log_vkey(config.answers.origin, answers_key)
        check_certified(registry.policies.chain().newest, config.answers, line)
        uploads = open_uploads(config.registry, registry, clock)
        seen_answers = LogMemory.beside(config.trust.seen, "answers", line)
        erased = ErasedKeys.beside(config.trust.seen)
        destroyed = registry.erasures.destroyed_keys() | erased.load()
        with opening("[answers] subjects", config.answers.subjects):
            subjects = SubjectKeys.open(config.answers.subjects, destroyed)
        with (
            opening("[answers] database", config.answers.database),
            extending("[answers] database", config.answers.database, seen_answers.path),
        ):
            answers = AnswerLog.open(
                config.answers.database,
                config.answers.origin,
                answers_key,
                subjects,
                known=registry.anchors.newest(config.answers.origin),
                memory=seen_answers,
            )
        witnessed = CosignatureStore.open(config.trust.seen, [w.witness for w in config.witnesses])
        return cls(
            roots,
            registry,
            uploads,
            answers,
            subjects,
            seen_registry,
            seen_answers,
            witnessed,
            erased,
        )

    def remember(self) -> None:
        """Have on the disk how far the logs have come and which keys are destroyed, for the next
        start. Raises: OSError, SealgateError as `Erasures.destroyed_keys` does.
        """
        self.seen_registry.sync()
        self.seen_answers.sync()
        self.erased.keep(self.registry.erasures.destroyed_keys())

    def follow_keys(self) -> list[str]:
        """Hand each log over to its next key where the newest policy names that; return which were.
        Raises SealgateError as `TileLog.hand_over` does.
        """
        policy = self.registry.policies.chain().newest
        logs: dict[str, Registry | AnswerLog] = {
            self.registry.log.origin: self.registry,
            self.answers.origin: self.answers,
        }
        return [origin for origin, log in logs.items() if log.hand_over(policy.log_key(origin))]

    def end_hand_over(self) -> None:
        """Sign with the new keys alone: an anchor signed by both tells of the hand-over."""
        self.registry.end_hand_over()
        self.answers.end_hand_over()

    def registry_size(self) -> int:
        """How many entries the registry's log had when it was last looked at, from memory."""
        return open_checkpoint(self.registry.note, self.registry.log.vkey).size

    def logs(self) -> dict[str, LogReader]:
        """The logs behind this gateway, by origin."""
        return {log.origin: log for log in (self.registry.log, self.answers.reader)}

    def cose_receipts(self) -> dict[str, CoseReceipts]:
        """The makers of COSE receipts of each log, by origin."""
        logs = (self.registry, self.answers)
        return dict(zip(self.logs(), (log.cose_receipts for log in logs), strict=True))

    def halt(self, origin: str, detail: str) -> None:
        """Stop the log of an origin: nothing more is signed under its key here."""
        (self.answers if origin == self.answers.origin else self.registry).halt(detail)

    def close(self) -> None:
        self.answers.close()
        self.subjects.close()
        self.registry.close()
        self.seen_registry.close()
        self.seen_answers.close()


def _open_registry(
    config: GatewayConfig, clock: Clock, roots: Mapping[str, PublicKey]
) -> tuple[Registry, LogMemory]:
    """The registry, begun where it is empty, and what was seen of its log."""
    with opening("[registry] database", config.registry.database):
        database = Database.open(config.registry.database, "registry")
    key = open_log_key(config.registry)
    seen = LogMemory.beside(config.trust.seen, "registry", log_vkey(config.registry.origin, key))
    with extending("[registry] database", config.registry.database, seen.path):
        registry = Registry.open(
            database,
            open_artifacts(config.registry),
            origin=config.registry.origin,
            log_signer=key,
            freshness_signer=open_log_signer(
                config.registry.freshness_key, following=config.registry.next_freshness_key
            ),
            root=PinnedRoot(roots, config.trust.threshold),
            clock=clock,
            memory=seen,
        )
    if not registry.log.size():
        begin(registry, read_regular_file(config.trust.policy))
    return registry, seen


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
