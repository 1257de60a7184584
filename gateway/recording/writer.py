"""Writes bursts of records to an answer log.

A burst is written in groups of at most 256 entries. A group is one transaction, one signature and
one durable commit. Groups of several threads are joined where they fit (see
`inference.batching.batcher`).
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count, repeat
from typing import NamedTuple, Protocol, TypeAlias

from gateway.recording.burst import RecordedAnswer, RecordedGroup
from gateway.recording.erasure import ErasureBarrier
from inference.batching.batcher import Batcher, BatcherLimits
from inference.engine.statistics import Duration
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from registry.answers.entries import Entries
from registry.answers.subject_keys import SubjectKeys
from registry.log.tile_log import LARGEST_GROUP
from sealgate.reasons import Reason, SealgateError

NONCE_BYTES = 16
_WAITING = 4096


class Recordable(Protocol):
    """A finished request: whom it is about, and the values of its entry's fields."""

    @property
    def subject(self) -> str: ...

    def values(self) -> tuple[str, ...]: ...


Recorded: TypeAlias = RecordedAnswer | SealgateError
"""What became of a record: it is on the disk, or it is not, and why."""


class _Entry(NamedTuple):
    """A record that is ready to be appended, its place in the burst, and its place among the
    entries that were `made` together.
    """

    place: int
    logged: LoggedAnswer
    made: Entries
    at: int


class _Written(NamedTuple):
    """Where entries stand: a group, and the index of the first of them."""

    group: RecordedGroup
    first: int


class BurstWriter:
    """Writes records, from any thread. `commits` are the groups written, and how long it took."""

    def __init__(self, log: AnswerLog, subjects: SubjectKeys, barrier: ErasureBarrier) -> None:
        self._log = log
        self._subjects = subjects
        self._barrier = barrier
        self._groups: Batcher[list[LoggedAnswer], _Written] = Batcher(
            self._append, BatcherLimits(max_rows=LARGEST_GROUP, queue_rows=_WAITING)
        )
        # One group after another is written, so nobody else changes it meanwhile.
        self.commits = Duration()

    def write(self, records: Sequence[Recordable]) -> list[Recorded]:
        """Write records in this order; see `AuditRecorder.record_burst`.

        Those whose subject is being erased come last, for they wait until that is done.
        """
        found: dict[int, Recorded] = {}
        subjects = {record.subject for record in records}
        with self._barrier.recording_others(subjects) as barred:
            self._write(records, lambda subject: subject not in barred, found)
        for subject in sorted(barred):
            try:
                with self._barrier.recording(subject):
                    self._write(records, subject.__eq__, found)
            except SealgateError as refusal:
                about = [n for n, record in enumerate(records) if record.subject == subject]
                found |= dict.fromkeys(about, refusal)
        return [found[place] for place in range(len(records))]

    def close(self, timeout: float) -> bool:
        """Waits for what is being written; False where time ran out."""
        return self._groups.close(timeout)

    def _write(
        self,
        records: Sequence[Recordable],
        wanted: Callable[[str], bool],
        found: dict[int, Recorded],
    ) -> None:
        """Write the records about some subjects. An append that fails fails those behind it."""
        entries = self._entries(self._openings(records, wanted, found), found)
        failed: SealgateError | None = None
        for at in range(0, len(entries), LARGEST_GROUP):
            chunk = entries[at : at + LARGEST_GROUP]
            if failed is None:
                try:
                    group, first = self._groups.submit([entry.logged for entry in chunk])
                except SealgateError as refusal:
                    failed = refusal
            if failed is not None:
                found |= dict.fromkeys([entry.place for entry in chunk], failed)
                continue
            for index, (place, logged, made, number) in enumerate(chunk, first):
                found[place] = RecordedAnswer(group, index, logged.opening, made, number)

    def _openings(
        self,
        records: Sequence[Recordable],
        wanted: Callable[[str], bool],
        found: dict[int, Recorded],
    ) -> dict[int, Opening]:
        """What opens the entries of those records that are wanted, by their places; `found` says
        why there is none.
        """
        openings: dict[int, Opening] = {}
        nonces = secrets.token_bytes(NONCE_BYTES * len(records))
        for place, record in enumerate(records):
            subject = record.subject
            if not wanted(subject):
                continue
            nonce = nonces[place * NONCE_BYTES : (place + 1) * NONCE_BYTES]
            try:
                key = self._subjects.key(subject)
                openings[place] = Opening(record.values(), nonce, subject, key)
            except Exception as error:  # one record's mistake must not fail the others
                found[place] = _refusal(error)
        return openings

    def _entries(
        self, openings: Mapping[int, Opening], found: dict[int, Recorded]
    ) -> Sequence[_Entry]:
        """The entries that openings have; `found` says why one has none."""
        if not openings:
            return []
        try:
            answers, made = self._log.entries(list(openings.values()))
        except Exception as error:  # of whichever it is
            if len(openings) == 1:
                found |= dict.fromkeys(openings, _refusal(error))
                return []
            alone = [self._entries({place: each}, found) for place, each in openings.items()]
            return [entry for entries in alone for entry in entries]
        return list(map(_Entry, openings, answers, repeat(made), count()))

    def _append(self, groups: list[list[LoggedAnswer]]) -> Sequence[_Written]:
        begun = time.perf_counter_ns()
        appended = self._log.append([entry for group in groups for entry in group])
        self.commits += Duration(1, time.perf_counter_ns() - begun)
        shared, first, written = RecordedGroup(appended), appended.first, []
        for group in groups:
            written.append(_Written(shared, first))
            first += len(group)
        return written


def _refusal(error: Exception) -> SealgateError:
    if isinstance(error, SealgateError):
        return error
    return SealgateError(Reason.INTERNAL, f"no entry: {type(error).__name__}")
