"""The arithmetic of the benchmarks: medians with their spread, ratios within a round, choices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure that was taken in several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Raises: ValueError where there is no value."""
        found = sorted(values)
        if not found:
            raise ValueError("no values")
        return cls(median(found), found[0], found[-1])


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement: `ok` answers in `seconds`, and what the server's processes used for them.

    Times are in milliseconds, `cpu` and `client_cpu` in CPU-seconds, `memory` in bytes (PSS; as
    large as it was at the end). `answered` has the answers outside the measured time too,
    `recorded` how many entries the answer log gained, where there is one.
    """

    seconds: float
    ok: int
    cpu: float
    p50_ms: float
    p99_ms: float
    memory: int
    client_cpu: float
    answered: int
    distinct: int
    failures: Mapping[str, int]
    recorded: int | None = None

    @property
    def rate(self) -> float:
        """OK answers a second."""
        return self.ok / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Server CPU-milliseconds per OK answer; infinite where nothing was answered."""
        return 1000 * self.cpu / self.ok if self.ok else float("inf")


def summary(cells: Sequence[Cell]) -> dict[str, Any]:
    """The figures of a row of the report, from the cells of several rounds."""
    failures: dict[str, int] = {}
    for cell in cells:
        for reason, count in cell.failures.items():
            failures[reason] = failures.get(reason, 0) + count
    row: dict[str, Any] = {
        name: asdict(Spread.of(getattr(cell, name) for cell in cells))
        for name in ("cpu_ms", "rate", "p50_ms", "p99_ms")
    }
    row |= {
        "memory_mb": round(max(cell.memory for cell in cells) / 1e6, 1),
        "client_cpu": round(max(cell.client_cpu / cell.seconds for cell in cells), 3),
        "answered": sum(cell.answered for cell in cells),
        "distinct_inputs": min(cell.distinct for cell in cells),
        "failures": failures,
    }
    if all(cell.recorded is not None for cell in cells):
        row["recorded"] = sum(cell.recorded or 0 for cell in cells)
    return row


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: a machine that drifts takes both along.

    Raises: ValueError where the rounds do not match.
    """
    return Spread.of(mine / other for mine, other in zip(ours, theirs, strict=True))
