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
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.holes import fuzzing, idle_connections, named_tests, promotion, publisher_flood
from benchmarks.report import Target, write_report

Measure = Callable[[], list[dict[str, Any]]]
Judge = Callable[[list[dict[str, Any]]], list[Target]]

BUILD = Path("build/holes")
# How each part is measured, and what its rows are held against.
_PARTS: dict[str, tuple[Measure, Judge]] = {
    "tests": (named_tests.measure, named_tests.targets),
    "fuzz": (fuzzing.measure, fuzzing.targets),
    "promotion": (promotion.rows, promotion.targets),
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
        found = {"commit": _commit(), "rows": rows}
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
    write_report("holes", rows, targets, commits=commits, missing=sorted(_PARTS.keys() - found))
    _print(rows, targets)
    return 0 if all(target.met for target in targets) else 1


def _print(rows: list[dict[str, Any]], targets: list[Target]) -> None:
    console = Console()
    for name in _PARTS:
        shown = [row for row in rows if row["part"] == name]
        if not shown:
            continue
        table = Table(title=name)
        # Counts of many events are for the file.
        columns = [name for name, value in shown[0].items() if not isinstance(value, dict)]
        columns.remove("part")
        for column in columns:
            table.add_column(column)
        for row in shown:
            table.add_row(*(str(row.get(column, "")) for column in columns))
        console.print(table)
    for target in targets:
        console.print(target.line())


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
