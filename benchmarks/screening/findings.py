"""The findings of each seed of a model: counts, kept in a file, that add up to a row of the report.

A seed's file in results/screening says which commit measured it. So a seed can be measured later
than the others, and the row is of all that are there.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Row
from benchmarks.screening.counts import AttackCounts, wilson

Counts = dict[str, list[int]]
AUTO = "AutoAttack"
KEPT = RESULTS / "screening"


def _counts(places: int) -> Callable[[], Counts]:
    return lambda: defaultdict(lambda: [0] * places)


@dataclass(slots=True)
class SeedFindings:
    """Counts of one seed: by attack; by detector and by honest change [rows, refused, refused or
    suspect]; by what counts as the best attack [got past, rows]; by size, of the adaptive attacker
    [turned, undetected, rows]; of AutoAttack on the same rows [turned, rows]; and of the test rows
    [told right, rows].
    """

    commit: str
    attacks: dict[str, AttackCounts] = field(default_factory=lambda: defaultdict(AttackCounts))
    clean: Counts = field(default_factory=_counts(3))
    changes: Counts = field(default_factory=_counts(3))
    best: Counts = field(default_factory=_counts(2))
    adaptive: Counts = field(default_factory=_counts(3))
    auto: list[int] = field(default_factory=lambda: [0, 0])
    right: list[int] = field(default_factory=lambda: [0, 0])

    def keep(self, data: str, model: str, seed: int) -> None:
        path = _file(data, model, seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(self, default=_fields) + "\n")


def kept(data: str, model: str) -> dict[int, SeedFindings]:
    """By seed, what was measured of a model."""
    found = {
        int(path.stem.rpartition("-")[2]): path for path in KEPT.glob(f"{data}-{model}-*.json")
    }
    return {seed: _read(found[seed]) for seed in sorted(found)}


def _read(path: Path) -> SeedFindings:
    read = json.loads(path.read_text())
    attacks = {name: AttackCounts(**cell) for name, cell in read.pop("attacks").items()}
    return SeedFindings(attacks=attacks, **read)


def _fields(found: SeedFindings | AttackCounts) -> dict[str, Any]:
    return {each.name: getattr(found, each.name) for each in fields(found)}


def _file(data: str, model: str, seed: int) -> Path:
    return KEPT / f"{data}-{model}-{seed}.json"


def row_of(title: str, model: str, seeds: Mapping[int, SeedFindings]) -> Row:
    """The report's row of a model of the data set with that title."""
    found = list(seeds.values())
    clean, changes, best, adaptive = (
        _sum([getattr(each, name) for each in found])
        for name in ("clean", "changes", "best", "adaptive")
    )
    attacks = {
        name: AttackCounts.sum(each.attacks[name] for each in found if name in each.attacks)
        for each in found
        for name in each.attacks
    }
    return {
        "data": title,
        "model": model,
        "seeds": len(found),
        "commit": ", ".join(dict.fromkeys(each.commit for each in found)),
        "accuracy": wilson(*_total([each.right for each in found])),
        "clean refused": {n: wilson(c[1], c[0]) for n, c in clean.items()},
        "clean suspect": {n: wilson(c[2], c[0]) for n, c in clean.items()},
        "honest changes refused": {n: wilson(c[1], c[0]) for n, c in changes.items()},
        "honest changes suspect": {n: wilson(c[2], c[0]) for n, c in changes.items()},
        **{name: wilson(*counts) for name, counts in best.items()},
        **_adapted(adaptive, _total([each.auto for each in found])),
        "attacks": [cell.row(name) for name, cell in attacks.items()],
    }


def _adapted(adaptive: Counts, auto: list[int]) -> Row:
    """The rows that the adaptive attacker turns and gets past with; none of a table."""
    if not adaptive:
        return {}
    rows: Row = {
        f"adaptive within {size}": {
            "fools": wilson(turned, of),
            "undetected": wilson(undetected, of),
        }
        for size, (turned, undetected, of) in adaptive.items()
    }
    turned, _, of = adaptive[max(adaptive, key=float)]
    without = {AUTO: wilson(*auto), "adaptive": wilson(turned, of)}
    return rows | {"without a detector": without}


def _sum(parts: list[Counts]) -> Counts:
    return {
        name: _total([each[name] for each in parts if name in each])
        for part in parts
        for name in part
    }


def _total(counts: list[list[int]]) -> list[int]:
    return [sum(each) for each in zip(*counts, strict=True)]
