"""Many runs of the state machine of promotion: `python -m tests.support.oracles.promotion.campaign
--runs 50000`.

Each batch of runs has a seed of its own, so a violation can be had again by its seed. The figures
are written after every batch: runs of at least 20 steps, steps, violations, and how often each
event occurred, which says whether the runs could have found anything.
"""

import argparse
import gc
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.report import Target
from tests.support.oracles.promotion.bench import bench
from tests.support.oracles.promotion.coverage import ALWAYS, missing
from tests.support.oracles.promotion.machine import STEPS, run
from tests.support.oracles.promotion.observed import Violation
from tests.support.oracles.promotion.remembering import remembering

BATCH = 1000
_RUNS = 50_000


@dataclass(slots=True)
class Figures:
    """The figures of the batches so far."""

    events: Counter[str] = field(default_factory=Counter)
    violations: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, seed: int, events: Counter[str], violation: str, cpu_seconds: float) -> None:
        """Add a batch."""
        self.events.update(events)
        self.seeds.append(seed)
        self.cpu_seconds += cpu_seconds
        if violation:
            self.violations.append({"seed": seed, "what": violation})

    def report(self, seconds: float) -> dict[str, Any]:
        """The figures as JSON."""
        events = dict(sorted(self.events.items()))
        return {
            "runs": events.pop("runs", 0),
            "steps_a_run": STEPS,
            "shorter_runs": events.pop("shorter runs", 0),
            "steps": events.pop("steps", 0),
            "violations": len(self.violations),
            "violating": self.violations,
            "missing": missing(self.events, ALWAYS),
            "seeds": [min(self.seeds, default=0), max(self.seeds, default=0)],
            "seconds": round(seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "events": events,
        }


def batch(seed: int, runs: int) -> tuple[int, Counter[str], str, float]:
    """Run a batch in this process."""
    events = bench().events
    events.clear()
    # With all that is remembered, each collection is dear: there is one a batch.
    gc.collect()
    gc.freeze()
    gc.disable()
    began, violation = time.process_time(), ""
    try:
        with remembering():
            run(seed, runs)
    except Violation as found:
        violation = "\n".join([str(found), *getattr(found, "__notes__", ())])
    return seed, Counter(events), violation, time.process_time() - began


def batches(seeds: Iterator[int], processes: int) -> Iterator[tuple[int, Counter[str], str, float]]:
    """Batches without end, in so many processes."""
    if processes == 1:
        for seed in seeds:
            yield batch(seed, BATCH)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: set[Future] = set()
        try:
            while True:
                while len(running) < processes:
                    running.add(pool.submit(batch, next(seeds), BATCH))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()


def measure(
    runs: int, seconds: float, first_seed: int, processes: int, out: Path | None
) -> dict[str, Any]:
    """Run until there are so many runs, or the time is over."""
    figures, began = Figures(), time.monotonic()
    for found in batches(count(first_seed), processes):
        figures.add(*found)
        report = figures.report(time.monotonic() - began)
        if out is not None:
            out.write_text(json.dumps(report, indent=2) + "\n")
        if figures.events["runs"] >= runs or report["seconds"] >= seconds:
            break
    return figures.report(time.monotonic() - began)


def rows() -> list[dict[str, Any]]:
    """One row: 50,000 runs."""
    return [measure(_RUNS, float("inf"), 1, 2, None)]


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    return [
        Target("state machine runs", sum(row["runs"] for row in rows), _RUNS, least=True),
        Target("state machine violations", sum(row["violations"] for row in rows), 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.oracles.promotion.campaign")
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    report = measure(asked.runs, asked.seconds, asked.seed, asked.processes, asked.out)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
