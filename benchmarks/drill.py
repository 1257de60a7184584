"""`make bench NAME=drill`: the drill (`make drill`), with its figures in results/drill.json."""

import os
import sys
from dataclasses import asdict

from benchmarks.report import Target, finish
from demo.drill.__main__ import STATE, run
from demo.drill.play import NAMES
from demo.drill.timing import MOST_SECONDS, MOST_TO_EXPLAIN, CaseResult

_NEVER = 1e9


def main() -> int:
    load = os.getloadavg()[0]
    results = run(STATE, NAMES)
    finish(
        "drill",
        [asdict(item) for item in results],
        [target for item in results for target in targets(item)],
        load_average_before=load,
    )
    return 0 if len(results) == len(NAMES) and all(item.held for item in results) else 1


def targets(item: CaseResult) -> list[Target]:
    """The targets of each case."""
    steps = (
        ("detected", item.detect, MOST_SECONDS),
        ("rolled back or recovered", item.recover, MOST_SECONDS),
        ("explained", item.explain, MOST_TO_EXPLAIN),
    )
    found = [
        Target(f"{item.case}: {name}, s", _NEVER if value is None else value, limit)
        for name, value, limit in steps
    ]
    return [*found, Target(f"{item.case}: answers lost", float(item.lost), 0.0)]


if __name__ == "__main__":
    sys.exit(main())
