"""A report of parts that take long: each is measured by itself and left in a file of its own.

The parts that are there are joined in benchmarks/results/NAME.json, each with the commit that it
measured.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.report import Row, Target, commit, finish, show

Part = tuple[Callable[[], list[Row]], Callable[[list[Row]], list[Target]]]
"""How a part is measured, and what its rows are held against."""


def run(name: str, parts: Mapping[str, Part], chosen: Sequence[str]) -> int:
    """Measure the parts that are chosen, or all; return the exit status."""
    if unknown := set(chosen) - parts.keys():
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
        return 2
    build = Path("build") / name
    build.mkdir(parents=True, exist_ok=True)
    for each in chosen or parts:
        found = {"commit": commit(), "rows": parts[each][0]()}
        (build / f"{each}.json").write_text(json.dumps(found, indent=1) + "\n")
    return _join(name, parts, build)


def _join(name: str, parts: Mapping[str, Part], build: Path) -> int:
    found = {
        each: json.loads((build / f"{each}.json").read_text())
        for each in parts
        if (build / f"{each}.json").exists()
    }
    targets: list[Target] = []
    for each, part in found.items():
        targets += parts[each][1](part["rows"])
    rows = [{"part": each, **row} for each, part in found.items() for row in part["rows"]]
    commits = {each: part["commit"] for each, part in found.items()}
    for part in found.values():
        # Counts of many things are for the file.
        show([{k: v for k, v in row.items() if not isinstance(v, dict)} for row in part["rows"]])
    finish(name, rows, targets, commits=commits, missing=sorted(parts.keys() - found))
    return 0 if all(target.met for target in targets) else 1
