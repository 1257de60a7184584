"""How a benchmark leaves its figures: machine, rows and targets as JSON."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("grpcio", "onnxruntime-gpu", "numpy", "cryptography", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that should not exceed `target`."""

    name: str
    value: float
    target: float

    @property
    def met(self) -> bool:
        return self.value <= self.target


def write_report(name: str, rows: list[dict[str, Any]], targets: list[Target]) -> None:
    """Writes results/NAME.json."""
    document = {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
            "packages": {package: version(package) for package in _PACKAGES},
        },
        "rows": rows,
        "targets": [{**asdict(target), "met": target.met} for target in targets],
    }
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
