"""How a benchmark leaves its figures: machine, rows and targets as JSON."""

import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("grpcio", "onnxruntime-gpu", "numpy", "cryptography", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that should not exceed `target`, or be `least` as large. `why` says what keeps a
    target from being met, and what was tried.
    """

    name: str
    value: float
    target: float
    least: bool = False
    why: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.least else self.value <= self.target

    def line(self) -> str:
        """For people."""
        sign, mark = "≥" if self.least else "≤", "met" if self.met else "MISSED"
        why = f"; {self.why}" if self.why else ""
        return f"{mark}  {self.name}: {self.value:.3g} ({sign} {self.target:g}){why}"

    def because(self, why: str) -> "Target":
        return replace(self, why=why)


def write_report(name: str, rows: list[dict[str, Any]], targets: list[Target], **more: Any) -> None:
    """Writes results/NAME.json; `more` is what a benchmark has to say beside its rows."""
    document = {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
            "packages": {package: version(package) for package in _PACKAGES},
        },
        "rows": rows,
        "targets": [{**asdict(target), "met": target.met} for target in targets],
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
