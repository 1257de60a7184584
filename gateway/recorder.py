"""Records what was asked and answered, durably, before anything leaves.

Requests that finish together are committed together: one signature and one write to disk for all
of them, and for each its own proof. See `inference.batcher` for how they come together.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from inference.batcher import Batcher, Limits
from registry.log.answer_log import Answer, AnswerLog, Opening
from sealgate.reasons import Reason, Refusal
from sealgate.trust import answer
from sealgate.trust.checkpoint import open_checkpoint
from sealgate.trust.proof import TlogProof
from sealgate.trust.receipt import Receipt
from sealgate.trust.times import format_micros

_NONCE_BYTES = 16
_GROUP = 256
_WAITING = 4096


class SubjectKeys(Protocol):
    def key(self, subject: str) -> bytes: ...

    def known_key(self, subject: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished request in the words of `sealgate.trust.answer.FIELDS`, and whom it is about.

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
        )


class Recorder:
    """Writes outcomes to an answer log.

    `fenced` is set once another process has become the log's writer: this one can answer nothing
    any more.
    """

    def __init__(self, log: AnswerLog, subjects: SubjectKeys) -> None:
        self._log = log
        self._subjects = subjects
        self._groups: Batcher[list[Answer], TlogProof] = Batcher(
            self._append, Limits(max_rows=_GROUP, queue_rows=_WAITING)
        )
        self.fenced = threading.Event()

    @property
    def size(self) -> int:
        """How many outcomes are recorded."""
        return self._log.size

    def record(self, outcome: Outcome) -> Receipt:
        """Returns once the outcome is on disk, with the receipt that proves it.

        Raises: RECORD_FAILED, QUEUE_FULL, DRAINING; nothing has been recorded then.
        """
        try:
            return self._record(outcome)
        except Refusal as refusal:
            # To a caller it is the same whether the log's database is full or gone.
            if refusal.reason is Reason.LOG_FENCED:
                self.fenced.set()
            if refusal.reason is Reason.REGISTRY_UNAVAILABLE:
                raise Refusal(Reason.RECORD_FAILED, refusal.detail) from refusal
            raise

    def _record(self, outcome: Outcome) -> Receipt:
        values = outcome.values()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        salts = answer.salts(self._subjects.key(outcome.subject), nonce)
        leaf = answer.leaf(values, salts)
        opening = Opening(values, nonce, outcome.subject)
        proof = self._groups.submit([Answer(leaf, opening)])
        return Receipt.of(leaf, values, salts, proof)

    def open(self, index: int) -> Receipt:
        """The receipt of an entry with every field opened, for auditors.

        Raises: ENTRY_UNKNOWN, also where the subject's key has been destroyed.
        """
        opening = self._log.opening(index)
        salts = answer.salts(self._subjects.known_key(opening.subject), opening.nonce)
        note = self._log.note
        size = open_checkpoint(note, self._log.reader.vkey).size
        path = self._log.reader.inclusion(index, size)
        leaf = self._log.reader.entry(index)
        proof = TlogProof(index, tuple(path), note)
        return Receipt.of(leaf, opening.fields, salts, proof, answer.FIELDS)

    def close(self, timeout: float) -> bool:
        """Waits for what is being recorded; False where time ran out."""
        return self._groups.close(timeout)

    def _append(self, groups: list[list[Answer]]) -> Sequence[TlogProof]:
        appended = self._log.append([entry for group in groups for entry in group])
        return [
            TlogProof(index, path, appended.note)
            for index, path in enumerate(appended.proofs, appended.first)
        ]
