"""Measure that no known hole is open: `python -m benchmarks.holes [PART ...]`.

    tests      every flaw's named tests (benchmarks/holes/flaws.toml); minutes
    fuzz       every parser, half a minute and 200,000 executions each; half an hour
    promotion  the model-checked promotion, 50,000 runs; an hour
    flood      hostile uploads beside honest answers; minutes
    idle       1,000 idle connections beside honest answers; minutes

Each part leaves its figures in build/holes/PART.json; without a PART all are measured. The parts
that are there are joined in benchmarks/results/holes.json, each with the commit that it measured.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.holes import idle_connections, named_tests, publisher_flood
from benchmarks.report import Row, Target, commit, finish, show
from tests.support.oracles.promotion import campaign

BUILD = Path("build/holes")
# How each part is measured, and what its rows are held against.
_PARTS: dict[str, tuple[Callable[[], list[Row]], Callable[[list[Row]], list[Target]]]] = {
    "tests": (named_tests.measure, named_tests.targets),
    "fuzz": (named_tests.fuzzed, named_tests.fuzz_targets),
    "promotion": (campaign.rows, campaign.targets),
    "flood": (publisher_flood.measure, publisher_flood.targets),
    "idle": (idle_connections.measure, idle_connections.targets),
}


def main() -> int:
    chosen = sys.argv[1:] or list(_PARTS)
    if unknown := set(chosen) - _PARTS.keys():
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        rows = _PARTS[name][0]()
        found = {"commit": commit(), "rows": rows}
        (BUILD / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return _join()


def _join() -> int:
    found = {
        name: json.loads((BUILD / f"{name}.json").read_text())
        for name in _PARTS
        if (BUILD / f"{name}.json").exists()
    }
    targets: list[Target] = []
    for name, part in found.items():
        targets += _PARTS[name][1](part["rows"])
    rows = [{"part": name, **row} for name, part in found.items() for row in part["rows"]]
    commits = {name: part["commit"] for name, part in found.items()}
    for part in found.values():
        # Counts of many events are for the file.
        show([{k: v for k, v in row.items() if not isinstance(v, dict)} for row in part["rows"]])
    finish("holes", rows, targets, commits=commits, missing=sorted(_PARTS.keys() - found))
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
