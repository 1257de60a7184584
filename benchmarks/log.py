"""`make bench NAME=log`: what the record costs, and what checking it costs.

Entries a second recorded durably with 1, 16 and 64 requests at a time, on SQLite and PostgreSQL,
through the gateway's own recorder: leaf, group commit, signature, receipt. Then one log of a
million entries: inclusion proofs, and every entry hashed again against every signed checkpoint;
and a registry with as many: what was live at a time, proved and checked. Then a file of 500 MB:
signed, stored and verified, beside `sha256sum`. Writes results/log.json.
"""

import argparse
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.long_log import ORIGIN, Row, as_of, large_log, row_of, timed
from benchmarks.report import Target, write_report
from gateway.recording.recorder import AuditRecord, AuditRecorder
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from registry.storage.artifact_folder import FolderStore
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.statements import Manifest, oms

_AT_A_TIME = (1, 16, 64)
_ROUNDS = 5
_DIGEST = "sha256:" + "5e" * 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each rate is measured")
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the large log")
    parser.add_argument("--megabytes", type=int, default=500, help="of the large file")
    asked = parser.parse_args()
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        for kind, place in _databases(Path(folder)):
            for count in _AT_A_TIME:
                rows += _recording(kind, place(count), count, asked.seconds)
        rows += large_log(Path(folder), asked.entries)
        rows += as_of(Path(folder), asked.entries)
        rows += _large_file(Path(folder), asked.megabytes)
    show(rows)
    targets = _targets(rows)
    for target in targets:
        Console().print(target.line(), highlight=False)
    write_report("log", rows, targets)


def show(rows: list[Row]) -> None:
    table = Table(title="the record, and checking it", title_justify="left")
    for name in ("what", "figure", "unit"):
        table.add_column(name, justify="right" if name == "figure" else "left")
    for row in rows:
        table.add_row(row["what"], f"{row['figure']:,.4g}", row["unit"])
    Console(highlight=False).print(table)


_DRIFT = (
    "the processor's pace drifts by more than half from day to day: 11,500 a second and 71 us were "
    "measured once, with code that in the hour of the last run did 6,500 to 7,300 where this did "
    "7,600 to 8,200"
)


def _targets(rows: list[Row]) -> list[Target]:
    found = {row["what"]: row["figure"] for row in rows}
    per_million = {row["what"]: row.get("per_million", 0.0) for row in rows}
    wanted = (
        ("entries/s, SQLite, 64 at a time", 10_000.0, True),
        ("CPU of a record with its receipt, SQLite, 64 at a time", 100.0, False),
        ("inclusion proof, p50", 5.0, False),
        ("as-of, p50", 5.0, False),
        ("signing a version, times sha256sum", 1.5, False),
        ("verifying a version, times sha256sum", 1.5, False),
    )
    targets = [
        Target(name, found[name], target, least, _DRIFT if "64 at a time" in name else "")
        for name, target, least in wanted
    ]
    whole = "whole log, from its database"
    return [*targets, Target(f"{whole}, s per million", per_million[whole], 10.0)]


@contextmanager
def _postgres() -> Iterator[Any]:
    from tests.support.harness.servers.postgres import PostgresServer

    with closing(PostgresServer()) as server:
        yield server


def _databases(folder: Path) -> Iterator[tuple[str, Callable[[int], Path | str]]]:
    """Each kind of database, and where a new one of it is."""
    yield "SQLite", lambda count: folder / f"answers-{count}.db"
    with _postgres() as server:
        yield "PostgreSQL", lambda count: server.schema_url(f"answers_{count}")


def _recording(kind: str, place: Path | str, at_a_time: int, seconds: float) -> list[Row]:
    """The rate, and the CPU that one entry takes, encoding its receipt included."""
    with TemporaryDirectory() as folder:
        subjects = SubjectKeys.open(Path(folder) / "subjects.db")
        log = AnswerLog.open(place, ORIGIN, PrivateKey.generate(), subjects)
        recorder = AuditRecorder(log, subjects)
        outcome = sample_outcome()
        recorder.record(outcome)
        before, cpu, began = recorder.size, time.process_time(), time.perf_counter()

        def ask(_: int) -> None:
            while time.perf_counter() < began + seconds:
                recorder.record(outcome).encode()

        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(ask, range(at_a_time)))
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu
        count = recorder.size - before
        recorder.close(10)
        log.close()
        subjects.close()
    how = f"{kind}, {at_a_time} at a time"
    return [
        row_of(f"entries/s, {how}", count / taken, "a second", entries=count),
        row_of(f"CPU of a record with its receipt, {how}", 1e6 * cpu / count, "us"),
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
    )


def _large_file(folder: Path, megabytes: int) -> list[Row]:
    """Publishing has the bytes that it signs, as they were made; what is verified is read from
    the store, whose pages are in memory by then. So the disk is measured in storing alone.
    """
    file, key = folder / "model.safetensors", PrivateKey.generate(ECDSA_P256)
    data = np.random.default_rng(1).bytes(megabytes * 1_000_000)
    file.write_bytes(data)
    manifest = Manifest.of({file.name: data})
    bundle, store = oms.sign(manifest, key), FolderStore(folder / "artifacts")
    entry = manifest.files[0]

    def sign() -> None:
        oms.sign(Manifest.of({file.name: data}), key)

    def put() -> None:
        with file.open("rb") as source:
            store.put(iter(lambda: source.read(1 << 20), b""), entry.size, entry.digest)

    def verify() -> None:
        oms.verify(bundle, manifest, [key.public])
        store.check(entry.digest, entry.size)

    steps: dict[str, Callable[[], object]] = {
        "sha256sum": lambda: subprocess.run(["sha256sum", file], check=True, capture_output=True),
        "signing a version": sign,
        "storing a version, durably": put,
        "verifying a version": verify,
        "loading a version, hashed": lambda: store.read(entry.digest, entry.size),
    }
    least = _by_turns(steps)
    rows = [row_of(name, taken, "s", megabytes=megabytes) for name, taken in least.items()]
    beside = least.pop("sha256sum")
    return rows + [
        row_of(f"{name}, times sha256sum", taken / beside, "times") for name, taken in least.items()
    ]


def _by_turns(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least of each step's seconds, which what else the machine does cannot make less."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, step in steps.items():
            times[name].append(timed(step))
    return {name: min(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
