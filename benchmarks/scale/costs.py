"""The costs for `benchmarks.scale`: read from results of other benchmarks, or measured."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from benchmarks.log.long_log import ORIGIN
from benchmarks.log.recording import sample_outcome
from benchmarks.report import Row, earlier
from gateway.recording.recorder import AuditRecorder
from registry.answers.answer_log import AnswerLog
from registry.answers.subject_keys import SubjectKeys
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency.note import vkey

_ENTRIES = 20_000
_MOVES = 100


@dataclass(frozen=True, slots=True)
class Costs:
    """In seconds of one core, and bytes, to one of each.

    `record_*`: of a group of entries, as a line through the measured groups. `look_*`: of a gateway
    that looks at the registry after a change. `quota_s`: a hit in Redis on the same machine, there
    and back (ADR 7). `connections`: of a gateway to PostgreSQL, its pool at rest and the one that
    listens.
    """

    answer_s: float
    record_fixed_s: float
    record_each_s: float
    write_s: float
    look_own_s: float
    look_server_s: float
    check_s: float
    quota_s: float
    entry_bytes: float
    log_line_bytes: float
    connections: int

    @classmethod
    def measured(cls) -> Self:
        serve, log = earlier("serve"), earlier("log")
        fixed, each = line_through(recording(log))
        own, server = _look_seconds()
        return cls(
            answer_s=answer_seconds(serve),
            record_fixed_s=fixed,
            record_each_s=each,
            write_s=1 / _figure(log, "entries/s, PostgreSQL, 1 a group"),
            look_own_s=own,
            look_server_s=server,
            check_s=_figure(log, "whole log, from its database") / 1e6,
            quota_s=90e-6,
            entry_bytes=_entry_bytes(),
            log_line_bytes=len(
                vkey("sealgate.localhost/answers-1000", PrivateKey.generate().public)
            ),
            connections=6,
        )

    def document(self) -> dict[str, float]:
        """For the report."""
        return asdict(self)


def answer_seconds(serve: Sequence[Row]) -> float:
    """One governed answer's share of a gateway's core, everything included, 64 in flight."""
    for row in serve:
        if (row["model"], row["what"], row["load"]) == (
            "digits",
            "Sealgate governed",
            "64 in flight",
        ):
            return 1 / float(row["rate"]["median"])
    raise ValueError("results/serve.json has no governed row")


def recording(log: Sequence[Row]) -> dict[int, float]:
    """How long a group of so many entries took, on SQLite."""
    return {
        count: count / _figure(log, f"entries/s, SQLite, {count} a group") for count in (1, 16, 64)
    }


def line_through(groups: Mapping[int, float]) -> tuple[float, float]:
    """The fixed and the marginal cost that the smallest and the largest group say."""
    (few, least), (many, most) = min(groups.items()), max(groups.items())
    each = (most - least) / (many - few)
    return least - few * each, each


def _figure(rows: Sequence[Row], what: str) -> float:
    return next(float(row["figure"]) for row in rows if row["what"] == what)


def _entry_bytes() -> float:
    """The bytes that an answer adds to its database: leaf, opening, and its share of hashes and
    notes.
    """
    with TemporaryDirectory() as folder:
        place = Path(folder) / "answers.db"
        with (
            closing(SubjectKeys.open(Path(folder) / "subjects.db")) as subjects,
            closing(AnswerLog.open(place, ORIGIN, PrivateKey.generate(), subjects)) as log,
        ):
            recorder, outcome = AuditRecorder(log, subjects), sample_outcome()
            with ThreadPoolExecutor(64) as pool:
                list(pool.map(lambda _: recorder.record(outcome), range(_ENTRIES)))
            recorder.close(10)
        return place.stat().st_size / _ENTRIES


def _look_seconds() -> tuple[float, float]:
    """The time of a look at a registry in PostgreSQL after a move: of the gateway's core, and
    beside it, which is the server's and the way there. The least of many each, which what else the
    machine does cannot make less.
    """
    from tests.support.harness.registry import RegistryHarness
    from tests.support.harness.servers.postgres import PostgresServer

    with TemporaryDirectory() as folder, closing(PostgresServer()) as server:
        harness = RegistryHarness(Path(folder), server.schema_url("scale")).found()
        targets = [harness.release(harness.publish(f"v{n}"), predecessor=n) for n in range(2)]
        own, beside = [], []
        with closing(harness.open()) as follower:
            for number in range(_MOVES):
                harness.roll_back(targets[number % 2], number + 3)
                began, cpu = time.perf_counter(), time.process_time()
                follower.change_token()
                follower.snapshot()
                taken, cpu = time.perf_counter() - began, time.process_time() - cpu
                own.append(cpu)
                beside.append(max(0.0, taken - cpu))
        harness.registry.close()
    return min(own), min(beside)
