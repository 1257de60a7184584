"""How a benchmark tells its figures: a table, targets, and results/NAME.json with the machine."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_MEASURED = (":/", ":(exclude,top)benchmarks/results")
RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]
_PACKAGES = ("grpcio", "onnxruntime-gpu", "numpy", "cryptography", "sqlalchemy")
_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that should not exceed `target`, or be `least` as large. `why` says what keeps a
    target from being met, and what was tried. Without a `value` it was not measured: it is not met,
    and the report says neither.
    """

    name: str
    value: float | None
    target: float
    least: bool = False
    why: str = ""

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.target if self.least else self.value <= self.target

    def line(self) -> str:
        """For people."""
        sign, mark = "≥" if self.least else "≤", "met" if self.met else "MISSED"
        why = f"; {self.why}" if self.why else ""
        if self.value is None:
            return f"NOT RUN  {self.name} ({sign} {self.target:g}){why}"
        return f"{mark}  {self.name}: {self.value:.3g} ({sign} {self.target:g}){why}"

    def because(self, why: str) -> "Target":
        return replace(self, why=why)

    def unless_met(self, why: Mapping[str, str]) -> "Target":
        """With what `why` has for its name, where it is missed."""
        return self if self.met else self.because(why.get(self.name, self.why))


def show(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), title: str | None = None
) -> None:
    """Print a table of these columns of the rows; of those of the first row by default."""
    names = columns or [name for name, each in rows[0].items() if not isinstance(each, list)]
    numbers = {n for n in names if any(isinstance(row.get(n), int | float | dict) for row in rows)}
    table = Table(title=title, title_justify="left", box=None)
    for name in names:
        head, number = name.replace("_", " "), name in numbers
        table.add_column(head, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        table.add_row(*(shown(row.get(name)) for name in names))
    _console().print(table)


def shown(value: Any) -> str:
    """A cell: a number with three digits, an interval or a spread as its middle and width."""
    match value:
        case None:
            return ""
        case {"mean": mean, **rest}:
            off = rest.get("plus_minus", rest.get("off"))
            return f"{mean:.3g}" if off is None else f"{mean:.3g} ± {off:.2g}"
        case {"median": median, "least": least, "most": most}:
            return f"{median:.3g} ({least:.3g} to {most:.3g})"
        case float():
            return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def finish(
    name: str,
    rows: Sequence[Row],
    targets: Sequence[Target],
    notes: Mapping[str, str] | None = None,
    **more: Any,
) -> None:
    """Print the targets, and in `notes` what could not be measured and why; write the report."""
    console = _console()
    for what, reason in (notes or {}).items():
        console.print(f"not measured: {what}: {reason}", soft_wrap=True)
    for target in targets:
        console.print(target.line(), soft_wrap=True)
    write_report(name, rows, targets, **({} if notes is None else {"not_measured": notes}), **more)


def write_report(name: str, rows: Sequence[Row], targets: Sequence[Target], **more: Any) -> None:
    """Writes results/NAME.json; `more` is what a benchmark has to say beside its rows."""
    document = {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
            "packages": {package: version(package) for package in _PACKAGES},
        },
        "rows": rows,
        "targets": [_told(target) for target in targets],
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _told(target: Target) -> dict[str, Any]:
    return asdict(target) | {"met": None if target.value is None else target.met}


def commit() -> str:
    """The commit that is checked out, "-dirty" with changes of more than results."""
    found = _git("describe", "--always")
    return f"{found}-dirty" if _git("diff", "HEAD", "--name-only", "--", *_MEASURED) else found


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def earlier(name: str) -> list[Row]:
    """The rows of the run before, if there was one."""
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def _console() -> Console:
    # Where it goes to a file it has no width of its own.
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
