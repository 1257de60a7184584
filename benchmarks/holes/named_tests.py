"""The flaws that attackers found, and the tests that fail where one is open again."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.report import Target

FLAWS = Path(__file__).with_name("flaws.toml")


def measure() -> list[dict[str, Any]]:
    """Run each flaw's tests."""
    rows = []
    for number, flaw in tomllib.loads(FLAWS.read_text()).items():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flaw["tests"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        summary = (done.stdout.strip().splitlines() or [""])[-1]
        rows.append(
            {
                "flaw": number,
                "what": flaw["what"],
                "tests": len(flaw["tests"]),
                "closed": done.returncode == 0,
                "outcome": summary.strip("= "),
            }
        )
        print(f"{number}: {rows[-1]['outcome']}", flush=True)
    return rows


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    return [Target("flaws open", sum(not row["closed"] for row in rows), 0)]
