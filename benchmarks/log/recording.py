"""The cost of recording: bursts by one thread, as on the request path, and single records by many.

A figure includes the receipt of every record, encoded. The native package makes the entries where
it is installed, but in rows that say "in Python".
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from benchmarks.log.long_log import ORIGIN, row_of
from benchmarks.report import Row
from gateway.recording.burst import PreparedRecord, RecordedAnswer, RecordTemplate
from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog, EntryMaker, PythonEntries, entry_maker
from registry.answers.subject_keys import SubjectKeys
from sealgate.trust.keys import PrivateKey
from sealgate.trust.times import format_micros

GROUPS = (1, 16, 64, 256)
THREADS = 64
_DIGEST = "sha256:" + "5e" * 32
_COMMON = {
    "subject": "client",
    "principal": "client",
    "method": "/inference.GRPCInferenceService/ModelInfer",
    "policy_digest": _DIGEST,
    "model": "digits",
    "version": "1",
    "version_digest": _DIGEST,
    "pointer_sequence": "1",
    "threshold": "1.234567890123",
    "engine": "this process",
    "alias": "production",
    "screening": "full",
    "arithmetic": "int8",
}
_ROUTE = RecordTemplate(**_COMMON)

Place = Callable[[str], Path | str]
"""Where a new database of a name is."""
_TURNS = 40


@dataclass(frozen=True, slots=True)
class Turn:
    """The measurements of a turn of one subject, for each record."""

    seconds: float
    cpu_seconds: float
    records: int


class WayToRecord(Protocol):
    """A way to record, whose turns alternate with others'."""

    how: str
    recorder: AuditRecorder

    def ask(self) -> None:
        """Record some, with their receipts."""


def recording(kind: str, place: Place, seconds: float) -> list[Row]:
    """Rate and CPU for each size of a group, and for many threads with one record each. In SQLite
    also where only Python makes entries.
    """
    with ExitStack() as stack:

        def recorder(name: str, make: EntryMaker) -> AuditRecorder:
            return stack.enter_context(_recorder(place(name), make))

        native = entry_maker()
        bursts = [Bursts(kind, size, recorder(f"group_{size}", native)) for size in GROUPS]
        subjects: list[WayToRecord] = [*bursts]
        subjects.append(
            stack.enter_context(closing(ThreadedRecords(kind, recorder("threads", native))))
        )
        if kind == "SQLite":
            for size in (64, 256):
                own = recorder(f"python_{size}", PythonEntries)
                subjects.append(Bursts(kind, size, own, ", in Python"))
        turns = _alternate(subjects, seconds / _TURNS)
        rows = [row for subject in subjects for row in _rows(subject.how, turns[subject.how])]
        alone = 1e6 * float(np.percentile(bursts[0].taken, 50))
    return [*rows, row_of(f"a record alone with its receipt, {kind}, p50", alone, "us")]


def _alternate(subjects: Sequence[WayToRecord], seconds: float) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {subject.how: [] for subject in subjects}
    for subject in subjects:
        subject.ask()
    for _ in range(_TURNS):
        for subject in subjects:
            turns[subject.how].append(_turn(subject, seconds))
    return turns


def _turn(subject: WayToRecord, seconds: float) -> Turn:
    before, cpu, began = subject.recorder.size, time.process_time(), time.perf_counter()
    while time.perf_counter() < began + seconds:
        subject.ask()
    taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = subject.recorder.size - before
    return Turn(taken / count, cpu / count, count)


def _rows(how: str, turns: Sequence[Turn]) -> list[Row]:
    """The best of the turns, which nothing else on the machine can make better, and the median."""
    rates = [1 / turn.seconds for turn in turns]
    cpu = [1e6 * turn.cpu_seconds for turn in turns]
    count = sum(turn.records for turn in turns)
    return [
        row_of(f"entries/s, {how}", max(rates), "a second", median=median(rates), entries=count),
        row_of(f"CPU of a record with its receipt, {how}", min(cpu), "us", median=median(cpu)),
    ]


def sample_outcome() -> AuditRecord:
    """An answered request, as the gateway records it."""
    return AuditRecord(
        **_COMMON,
        time=datetime.now(UTC),
        outcome="answered",
        input=_DIGEST,
        output=_DIGEST,
        verdict="clean",
        score="0.1234567890123",
        parameters=_DIGEST,
    )


def _burst(size: int) -> list[PreparedRecord]:
    moment = format_micros(datetime.now(UTC))
    asked = (_DIGEST, _DIGEST, "answered", "clean", "0.1234567890123", _DIGEST)
    return [_ROUTE.fill(moment, *asked) for _ in range(size)]


@contextmanager
def _recorder(place: Path | str, make: EntryMaker) -> Iterator[AuditRecorder]:
    with (
        TemporaryDirectory() as folder,
        closing(SubjectKeys.open(Path(folder) / "subjects.db")) as subjects,
        closing(AnswerLog.open(place, ORIGIN, PrivateKey.generate(), subjects, make=make)) as log,
    ):
        recorder = AuditRecorder(log, subjects)
        yield recorder
        recorder.close(10)


class Bursts:
    """One thread records bursts of a size. `taken` has the seconds that each took."""

    def __init__(self, kind: str, size: int, recorder: AuditRecorder, python: str = "") -> None:
        self.how = f"{kind}, {size} a group{python}"
        self.recorder = recorder
        self.taken: list[float] = []
        self._size = size

    def ask(self) -> None:
        began = time.perf_counter()
        for recorded in self.recorder.record_burst(_burst(self._size)):
            if not isinstance(recorded, RecordedAnswer):
                raise recorded
            recorded.receipt()
        self.taken.append(time.perf_counter() - began)


class ThreadedRecords:
    """Many threads record one record each at a time."""

    def __init__(self, kind: str, recorder: AuditRecorder) -> None:
        self.how = f"{kind}, {THREADS} threads"
        self.recorder = recorder
        self._pool = ThreadPoolExecutor(THREADS)
        self._outcome = sample_outcome()

    def ask(self) -> None:
        asked = [
            self._pool.submit(self.recorder.record, self._outcome) for _ in range(16 * THREADS)
        ]
        for each in asked:
            each.result().encode()

    def close(self) -> None:
        self._pool.shutdown()
