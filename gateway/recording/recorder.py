"""Records what was asked and answered, durably, before anything leaves.

Requests that finish together are committed together: one signature and one write to disk for all
of them, and for each its own proof. See `inference.batching.batcher` for how they come together.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.calls.call import Call
from gateway.calls.params import InferenceParams
from gateway.recording.erasure import Erasure, ErasureBarrier
from inference.batching.batcher import Batcher, BatcherLimits
from inference.engine.statistics import Duration
from inference.engine.table import LiveVersion
from inference.observability import tracing
from registry.answers.answer_log import AnswerLog, LoggedAnswer, Opening
from registry.answers.openings import ANYTHING
from registry.answers.subject_keys import SubjectKeys
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.receipts.answer_entry import BLOCKED, FULL, TWO_STAGE
from sealgate.trust.times import format_micros
from sealgate.trust.transparency import TlogProof, open_checkpoint

_NONCE_BYTES = 16
_GROUP = 256
_WAITING = 4096
_ERASURE_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A finished request in the words of `sealgate.trust.receipts.answer_entry.FIELDS`, and whom it
    is about.

    `method` is the path of the gRPC method. What a request never came to is empty.
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
    any more. `commits` are the groups written, and how long that took.
    """

    def __init__(self, log: AnswerLog, subjects: SubjectKeys) -> None:
        self._log = log
        self._subjects = subjects
        self._groups: Batcher[list[LoggedAnswer], TlogProof] = Batcher(
            self._append, BatcherLimits(max_rows=_GROUP, queue_rows=_WAITING)
        )
        self._barrier = ErasureBarrier()
        self._erasing = threading.Lock()
        self.fenced = threading.Event()
        # One group after another is written, so nobody else changes it meanwhile.
        self.commits = Duration()

    @property
    def size(self) -> int:
        """How many outcomes are recorded."""
        return self._log.size

    def record(self, record: AuditRecord) -> Receipt:
        """Returns once the outcome is on disk, with the receipt that proves it.

        Raises: RECORD_FAILED, QUEUE_FULL, DRAINING; nothing has been recorded then.
        """
        try:
            with tracing.span("record"):
                return self.write(record)
        except SealgateError as refusal:
            # To a caller it is the same whether the log's database is full or gone.
            if refusal.reason is Reason.LOG_FENCED:
                self.fenced.set()
            if refusal.reason is Reason.REGISTRY_UNAVAILABLE:
                raise SealgateError(Reason.RECORD_FAILED, refusal.detail) from refusal
            raise

    def write(self, record: AuditRecord) -> Receipt:
        values = record.values()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        with self._barrier.recording(record.subject):
            key = self._subjects.key(record.subject)
            salts = answer_entry.salts(key, nonce)
            leaf = answer_entry.leaf(values, salts)
            opening = Opening(values, nonce, record.subject, key)
            proof = self._groups.submit([LoggedAnswer(leaf, opening)])
        return Receipt.of(leaf, values, salts, proof)

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

    def closed(self) -> int:
        """How many entries have no opening, of those that are not pruned."""
        return self._log.openings.closed()

    def has_opening(self, index: int) -> bool:
        """Whether the opening of an entry is there, be it that it cannot be opened any more."""
        return self._log.openings.closed_between(index, index + 1) == 0

    def close(self, timeout: float) -> bool:
        """Waits for what is being recorded; False where time ran out."""
        return self._groups.close(timeout)

    def _append(self, groups: list[list[LoggedAnswer]]) -> Sequence[TlogProof]:
        begun = time.perf_counter_ns()
        appended = self._log.append([entry for group in groups for entry in group])
        self.commits += Duration(1, time.perf_counter_ns() - begun)
        return [
            TlogProof(index, path, appended.note)
            for index, path in enumerate(appended.proofs, appended.first)
        ]


# With these reasons the policy withholds an answer for what screening or a session said of it.
_WITHHELD = frozenset(
    reason.name
    for reason in (
        Reason.ADVERSARIAL_INPUT,
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

    It is about the caller where no subject was named. What came to no policy of its own names the
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
    return ",".join(sorted({*actions, *((BLOCKED,) if outcome in _WITHHELD else ())}))


def screening_of(live: LiveVersion) -> str:
    """Which screening judged an answer of the version. Not which of its stages did: that is not for
    the caller.
    """
    return FULL if live.ready.detector.first is None else TWO_STAGE
