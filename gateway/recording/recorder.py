"""Records what was asked and answered, durably, before anything leaves.

Requests that finish together are committed together: one signature and one write to disk for all
of them, and for each its own proof. See `gateway.recording.burst` for how they come together.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.calls.call import Call
from gateway.calls.params import InferenceParams
from gateway.recording.burst import BurstWriter, PreparedRecord, Recordable, Recorded
from gateway.recording.erasure import Erasure, ErasureBarrier
from inference.engine import Duration, InferenceResult, LiveVersion
from inference.observability import tracing
from registry.answers import ANYTHING, AnswerLog, Opening, SubjectKeys
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.receipts.answer_entry import BLOCKED, FULL, NONE, TWO_STAGE
from sealgate.trust.times import format_micros
from sealgate.trust.transparency import TlogProof, open_checkpoint

_ERASURE_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A finished request in the words of `sealgate.trust.receipts.answer_entry.FIELDS`, and whom it
    is about.

    `method` is the path of the gRPC method. Fields that a request never reached are empty.
    """

    subject: str
    time: datetime
    principal: str
    method: str
    policy_digest: str
    outcome: str
    model: str = ""
    version: str = ""
    version_digest: str = ""
    pointer_sequence: str = ""
    input: str = ""
    output: str = ""
    verdict: str = ""
    score: str = ""
    threshold: str = ""
    engine: str = ""
    alias: str = ""
    parameters: str = ""
    request_id: str = ""
    screening: str = ""
    arithmetic: str = ""
    actions: str = ""

    @classmethod
    def of(cls, prepared: PreparedRecord, time: datetime) -> "AuditRecord":
        """The record of that time that was prepared from its values."""
        values: dict[str, Any] = dict(zip(answer_entry.FIELDS, prepared.fields, strict=True))
        return cls(subject=prepared.subject, **values | {"time": time})

    def values(self) -> tuple[str, ...]:
        """The values in the order of the leaf's fields."""
        return (
            format_micros(self.time),
            self.principal,
            self.method,
            self.model,
            self.version,
            self.version_digest,
            self.pointer_sequence,
            self.policy_digest,
            self.input,
            self.output,
            self.outcome,
            self.verdict,
            self.score,
            self.threshold,
            self.engine,
            self.alias,
            self.parameters,
            self.request_id,
            self.screening,
            self.arithmetic,
            self.actions,
        )


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """Receipts of entries before `next`, and the indices of those that cannot be opened."""

    next: int
    receipts: tuple[Receipt, ...]
    unopened: tuple[int, ...]


class AuditRecorder:
    """Writes outcomes to an answer log.

    `fenced` is set once another process has become the log's writer: this one can answer nothing
    any more.
    """

    def __init__(self, log: AnswerLog, subjects: SubjectKeys) -> None:
        self._log = log
        self._subjects = subjects
        self._barrier = ErasureBarrier()
        self._writer = BurstWriter(log, subjects, self._barrier)
        self._erasing = threading.Lock()
        self.fenced = threading.Event()

    @property
    def size(self) -> int:
        """How many outcomes are recorded."""
        return self._log.size

    @property
    def commits(self) -> Duration:
        """How many groups were written, and how long that took."""
        return self._writer.commits

    def record(self, record: AuditRecord) -> Receipt:
        """Returns once the outcome is on disk, with the receipt that proves it.

        Raises: RECORD_FAILED, QUEUE_FULL, DRAINING; nothing has been recorded then.
        """
        [recorded] = self.record_burst([record])
        if isinstance(recorded, SealgateError):
            raise recorded
        return recorded.whole()

    def record_burst(self, records: Sequence[Recordable]) -> list[Recorded]:
        """Records a burst in one trip, on the caller's thread; returns once all is on disk.

        The result has an item for each record, in order: a `RecordedAnswer`, or a SealgateError
        where nothing was recorded: RECORD_FAILED, LOG_FENCED, LOG_INCONSISTENT, QUEUE_FULL,
        DRAINING; INTERNAL for values that no entry can have. Entries are in the order of the
        records, and an append that fails fails all behind it. Records whose subject is being erased
        come last: they wait up to five seconds, as `record` does, and so does the caller.

        A record is an `AuditRecord`, or cheaper, what a `RecordTemplate` fills in; see
        `gateway.recording.burst`.
        """
        with tracing.span("record"):
            found = self._writer.write(records)
        for place, recorded in enumerate(found):
            if isinstance(recorded, SealgateError):
                found[place] = self._told(recorded)
        return found

    def _told(self, refusal: SealgateError) -> SealgateError:
        """A refusal as each record's caller is told of it: an exception is raised once."""
        if refusal.reason is Reason.LOG_FENCED:
            self.fenced.set()
        # To a caller it is the same whether the log's database is full or gone.
        gone = refusal.reason is Reason.REGISTRY_UNAVAILABLE
        told = SealgateError(
            Reason.RECORD_FAILED if gone else refusal.reason, refusal.detail, refusal.retry
        )
        told.__cause__ = refusal
        return told

    def open(self, index: int) -> Receipt:
        """The receipt of an entry with every field opened, for auditors.

        Raises: ENTRY_UNKNOWN, ENTRY_PRUNED; OPENING_MISSING where its opening or its subject's key
        is gone.
        """
        leaf = self._log.reader.entry(index)
        try:
            opening = self._log.opening(index)
        except SealgateError as refusal:
            if refusal.reason is Reason.ENTRY_UNKNOWN:
                raise SealgateError(Reason.OPENING_MISSING, refusal.detail) from refusal
            raise
        receipts = self._receipts({index: opening}, self._log.note)
        if index not in receipts:
            if answer_entry.fields_of(leaf) != answer_entry.fields_of(len(opening.fields)):
                raise SealgateError(
                    Reason.LOG_INCONSISTENT, f"the opening of {index} has other fields"
                )
            # It was pruned in between.
            raise SealgateError(Reason.ENTRY_PRUNED, f"entry {index}")
        return receipts[index]

    def search(
        self, start: int, end: int, values: Sequence[str], where: Mapping[str, str] = ANYTHING
    ) -> Iterator[SearchRecord]:
        """The receipts, with every field opened, of the entries that have each of `values`, and
        each value of `where` under its name.

        Raises like `Openings.find`.
        """
        note = self._log.note
        for found in self._log.openings.find(start, end, values, where):
            receipts = self._receipts(dict(found.openings), note)
            closed = {index for index, _ in found.openings} - receipts.keys()
            unopened = tuple(sorted({*found.missing, *closed}))
            yield SearchRecord(found.next, tuple(receipts.values()), unopened)

    def _receipts(self, openings: Mapping[int, Opening], note: str) -> dict[int, Receipt]:
        """The receipts of entries, but of those that are pruned or whose opening has the fields of
        another format.
        """
        size = open_checkpoint(note, self._log.reader.vkey).size
        proven = self._log.reader.proven(list(openings), size)
        receipts: dict[int, Receipt] = {}
        for index, opening in openings.items():
            if index not in proven:
                continue
            leaf, path = proven[index]
            names = answer_entry.fields_of(leaf)
            if len(opening.fields) != len(names):
                continue
            salts = answer_entry.salts(opening.key, opening.nonce, len(names))
            proof = TlogProof(index, path, note)
            receipts[index] = Receipt.of(leaf, opening.fields, salts, proof, names)
        return receipts

    def erase(self, subject: str, tell: Callable[[Erasure], None]) -> int:
        """Destroy a subject's key, then what its entries commit to; return how many these were.

        The log verifies as before, and so does a receipt in its holder's hands. For `tell` and what
        is raised see `Erasure.run`.
        """
        if not self._erasing.acquire(timeout=_ERASURE_WAIT_SECONDS):
            raise SealgateError(Reason.RECORD_FAILED, "another erasure is in progress")
        try:
            return Erasure(self._log, self._subjects, self._barrier, subject).run(tell)
        finally:
            self._erasing.release()

    def is_erasing(self, subject: str) -> bool:
        """Whether a record about the subject would wait for its erasure now."""
        return self._barrier.is_erasing(subject)

    def closed(self) -> int:
        """How many entries have no opening, of those that are not pruned."""
        return self._log.openings.closed()

    def closed_by_memory(self, index: int) -> int:
        """The same at less cost; see `Openings.closed_by_memory`."""
        return self._log.openings.closed_by_memory(index)

    def has_opening(self, index: int) -> bool:
        """Whether the opening of an entry is there, be it that it cannot be opened any more."""
        return self._log.openings.closed_between(index, index + 1) == 0

    def close(self, timeout: float) -> bool:
        """Waits for what is being recorded; False where time ran out."""
        return self._writer.close(timeout)


# With these reasons the policy withholds an answer for what screening or a session said of it.
_WITHHELD = frozenset(
    reason.name
    for reason in (
        Reason.ADVERSARIAL_INPUT,
        Reason.ANSWER_WITHHELD,
        Reason.PROMPT_INJECTION,
        Reason.SESSION_BLOCKED,
        Reason.STEP_UP,
    )
)


def record_of(
    call: Call,
    time: datetime,
    params: InferenceParams | None,
    live: LiveVersion | None,
    judged_by: str,
    current: Callable[[], Policy],
    **found: str,
) -> AuditRecord:
    """The audit record of a call that came as far as a params, a version and a policy (`judged_by`,
    a digest), or not so far; `found` is all else that is known.

    It is about the caller where no subject was named. A call that was judged by no policy names the
    one that its version was looked up by, or else the `current` one.
    """
    principal = call.principal.name
    return AuditRecord(
        subject=params.subject if params and params.subject else principal,
        time=time,
        principal=principal,
        method=call.method,
        model=params.model if params else "",
        version=str(live.version) if live else "",
        version_digest=live.digest if live else "",
        pointer_sequence=str(live.sequence) if live else "",
        policy_digest=judged_by or (live.policy if live else current().digest),
        alias=(params.alias or "") if params else "",
        **found,
    )


def actions_of(outcome: str, actions: Collection[str] = ()) -> str:
    """The words of an entry about what the policy did to the answer, whose outcome this is."""
    blocked = outcome in _WITHHELD
    if not actions:
        return BLOCKED if blocked else ""
    return ",".join(sorted({*actions, *((BLOCKED,) if blocked else ())}))


def measured(live: LiveVersion | None, answer: InferenceResult | None) -> InferenceResult | None:
    """The answer if its rows were screened, so that it has a verdict and a score."""
    return answer if live is not None and live.ready.detector.screens else None


def screening_of(live: LiveVersion) -> str:
    """Which screening judged an answer of the version. Not which of its stages did: that is not for
    the caller.
    """
    detector = live.ready.detector
    if not detector.screens:
        return NONE
    return FULL if detector.first is None else TWO_STAGE
