"""`python -m benchmarks.openings`: what encrypted openings cost, and how fast they are found.

CPU of an entry in groups of 1, 16 and 256: made, encrypted, indexed and committed. Then one log of
a million entries of 1000 callers over 30 days: searches by caller and day, by the index and with
each entry looked at, and an erasure. Writes results/openings.json.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.log import show
from benchmarks.long_log import ORIGIN, Row, row_of, timed
from benchmarks.report import Target, write_report
from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.answers.encryption import Opening
from registry.answers.subject_keys import SubjectKeys
from sealgate.trust.keys import PrivateKey
from sealgate.trust.receipts import answer_entry

_SEARCHES = 100
_CALLERS, _DAYS = 1000, 30
_GROUP = 256
_DIGEST = "sha256:" + "5e" * 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the large log")
    parser.add_argument("--groups", type=int, default=200, help="of each size that is measured")
    asked = parser.parse_args()
    rows: list[Row] = []
    for size in (1, 16, 256):
        rows.append(_recording(size, asked.groups))
    rows += _searching(asked.entries)
    show(rows)
    found = {row["what"]: row["figure"] for row in rows}
    targets = [
        Target(name, found[name], 200.0)
        for name in ("search by caller and day, p50", "search by caller and day, p99")
    ]
    for target in targets:
        print(target.line())
    write_report("openings", rows, targets)


def _opened(folder: Path) -> tuple[SubjectKeys, AnswerLog]:
    subjects = SubjectKeys.open(folder / "subjects.db")
    return subjects, AnswerLog.open(folder / "answers.db", ORIGIN, PrivateKey.generate(), subjects)


def _entry(subjects: SubjectKeys, number: int, day: int = 1) -> LoggedAnswer:
    caller = f"caller-{number % _CALLERS}"
    fields = {
        **dict.fromkeys(answer_entry.FIELDS, _DIGEST),
        "time": f"2026-11-{day:02}T10:00:00.{number % 1_000_000:06}Z",
        "principal": caller,
        "method": "/inference.GRPCInferenceService/ModelInfer",
        "model": f"model-{number % 7}",
        "version": "1",
        "pointer_sequence": "1",
        "outcome": "answered",
        "verdict": "clean",
        "score": "0.1234567890123",
        "threshold": "1.234567890123",
        "engine": "this process",
        "alias": "production",
        "request_id": f"{number:032x}",
        "screening": "full",
        "arithmetic": "int8",
        "actions": "",
    }
    values, nonce = tuple(fields.values()), number.to_bytes(16)
    opening = Opening(values, nonce, caller, subjects.key(caller))
    return LoggedAnswer(answer_entry.leaf(values, answer_entry.salts(opening.key, nonce)), opening)


def _recording(size: int, groups: int) -> Row:
    with TemporaryDirectory() as folder:
        subjects, log = _opened(Path(folder))
        with closing(subjects), closing(log):
            for number in range(_CALLERS):
                subjects.key(f"caller-{number}")
            log.append([_entry(subjects, n) for n in range(_GROUP)])
            began = time.process_time()
            for first in range(0, groups * size, size):
                log.append([_entry(subjects, n) for n in range(first, first + size)])
            taken = time.process_time() - began
    return row_of(f"CPU of an entry, {size} at a time", 1e6 * taken / (groups * size), "us")


def _searching(entries: int) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        subjects, log = _opened(Path(folder))
        with closing(subjects), closing(log):
            for first in range(0, entries, _GROUP):
                group = range(first, min(first + _GROUP, entries))
                log.append([_entry(subjects, n, 1 + n * _DAYS // entries) for n in group])
            yield row_of("entries", entries, "")
            size = (Path(folder) / "answers.db").stat().st_size
            yield row_of("bytes an entry", size / entries, "bytes")
            for name, where in _SEARCHED.items():
                yield from _percentiles(name, log, entries, where)
            scanned = min(entries, 100_000)
            whole = timed(lambda: list(log.openings.find(0, scanned, ["caller-1"])))
            yield row_of("looking at an entry for a value", 1e6 * whole / scanned, "us")
            yield row_of(
                "erasure of a caller", timed(lambda: log.openings.erase("caller-7", entries)), "s"
            )


def _percentiles(
    name: str, log: AnswerLog, entries: int, where: Callable[[random.Random], dict[str, str]]
) -> Iterator[Row]:
    chosen, count = random.Random(0), 0  # noqa: S311
    taken = []
    for _ in range(_SEARCHES):
        asked = where(chosen)
        began = time.perf_counter()
        parts = list(log.openings.find(0, entries, (), asked))
        taken.append(1e3 * (time.perf_counter() - began))
        count += sum(len(part.openings) for part in parts)
    taken.sort()
    found = count / _SEARCHES
    yield row_of(f"{name}, p50", taken[_SEARCHES // 2], "ms", found=found)
    yield row_of(f"{name}, p99", taken[_SEARCHES * 99 // 100], "ms", found=found)


_SEARCHED: dict[str, Callable[[random.Random], dict[str, str]]] = {
    "search by caller and day": lambda chosen: {
        "principal": f"caller-{chosen.randrange(_CALLERS)}",
        "day": f"2026-11-{1 + chosen.randrange(_DAYS):02}",
    },
    "search by caller": lambda chosen: {"principal": f"caller-{chosen.randrange(_CALLERS)}"},
    "search by request id": lambda chosen: {"request_id": f"{chosen.randrange(1000):032x}"},
}

if __name__ == "__main__":
    main()
