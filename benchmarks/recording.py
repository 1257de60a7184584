"""What recording costs: bursts by one thread, as the request path does, and single records by many.

A figure includes the receipt of every record, encoded. `made by` says whether the native package or
Python made the entries.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.long_log import ORIGIN, Row, row_of
from gateway.recording.burst import PreparedRecord, RecordedAnswer, RecordTemplate
from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog
from registry.answers.entries import EntryMaker, PythonEntries, entry_maker
from registry.answers.subject_keys import SubjectKeys
from sealgate.trust.keys import PrivateKey
from sealgate.trust.times import format_micros

GROUPS = (1, 16, 64, 256)
THREADS = 64
_DIGEST = "sha256:" + "5e" * 32
_ROUTE = RecordTemplate(
    subject="client",
    principal="client",
    method="/inference.GRPCInferenceService/ModelInfer",
    policy_digest=_DIGEST,
    model="digits",
    version="1",
    version_digest=_DIGEST,
    pointer_sequence="1",
    threshold="1.234567890123",
    engine="this process",
    alias="production",
    screening="full",
    arithmetic="int8",
)

Place = Callable[[str], Path | str]
"""Where a new database of a name is."""


def recording(kind: str, place: Place, seconds: float) -> list[Row]:
    """Rate and CPU for each size of a group, and for many threads with one record each."""
    rows = []
    for size in GROUPS:
        rows += _bursts(kind, place(f"group_{size}"), size, seconds)
    return rows + _threads(kind, place("threads"), seconds)


def without_native(place: Place, seconds: float) -> list[Row]:
    """The same in SQLite where only Python makes entries."""
    return [
        row
        for size in (64, 256)
        for row in _bursts("SQLite", place(f"python_{size}"), size, seconds, PythonEntries)
    ]


def sample_outcome() -> AuditRecord:
    """An answered request, as the gateway records it."""
    return AuditRecord(
        subject="client",
        time=datetime.now(UTC),
        principal="client",
        method="/inference.GRPCInferenceService/ModelInfer",
        policy_digest=_DIGEST,
        outcome="answered",
        model="digits",
        version="1",
        version_digest=_DIGEST,
        pointer_sequence="1",
        input=_DIGEST,
        output=_DIGEST,
        verdict="clean",
        score="0.1234567890123",
        threshold="1.234567890123",
        engine="this process",
        alias="production",
        parameters=_DIGEST,
        screening="full",
        arithmetic="int8",
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


def _bursts(
    kind: str, place: Path | str, size: int, seconds: float, make: EntryMaker | None = None
) -> list[Row]:
    make = make or entry_maker()
    taken: list[float] = []

    def ask(recorder: AuditRecorder) -> None:
        began = time.perf_counter()
        for recorded in recorder.record_burst(_burst(size)):
            if not isinstance(recorded, RecordedAnswer):
                raise recorded
            recorded.receipt()
        taken.append(time.perf_counter() - began)

    python = ", in Python" if make is PythonEntries else ""
    with _recorder(place, make) as recorder:
        ask(recorder)
        rows = _measured(recorder, f"{kind}, {size} a group{python}", seconds, ask, make)
    if size == 1:
        alone = 1e6 * float(np.percentile(taken[1:], 50))
        rows.append(row_of(f"a record alone with its receipt, {kind}, p50", alone, "us"))
    return rows


def _threads(kind: str, place: Path | str, seconds: float) -> list[Row]:
    outcome, make = sample_outcome(), entry_maker()
    with _recorder(place, make) as recorder, ThreadPoolExecutor(THREADS) as pool:
        recorder.record(outcome)

        def ask(recorder: AuditRecorder) -> None:
            asked = [pool.submit(recorder.record, outcome) for _ in range(16 * THREADS)]
            for each in asked:
                each.result().encode()

        return _measured(recorder, f"{kind}, {THREADS} threads", seconds, ask, make)


def _measured(
    recorder: AuditRecorder,
    how: str,
    seconds: float,
    ask: Callable[[AuditRecorder], None],
    make: EntryMaker,
) -> list[Row]:
    before, cpu, began = recorder.size, time.process_time(), time.perf_counter()
    while time.perf_counter() < began + seconds:
        ask(recorder)
    taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = recorder.size - before
    maker = "Python" if make is PythonEntries else "sealgate_front"
    return [
        row_of(f"entries/s, {how}", count / taken, "a second", entries=count, made_by=maker),
        row_of(f"CPU of a record with its receipt, {how}", 1e6 * cpu / count, "us"),
    ]
