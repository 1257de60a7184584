"""The flaws that attackers found, with the tests that fail where one is open again.

Every parser of bytes from outside is fuzzed too, for half a minute and 200,000 executions at least.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.report import Row, Target
from tests.fuzz.coverage import line_coverage
from tests.fuzz.harnesses import HARNESSES
from tests.fuzz.runs import fuzz

_SECONDS = 30
_ALL, _EACH = 10_000_000, 200_000
FLAWS = Path(__file__).with_name("flaws.toml")


def measure() -> list[Row]:
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


def targets(rows: list[Row]) -> list[Target]:
    return [Target("flaws open", sum(not row["closed"] for row in rows), 0)]


def fuzzed() -> list[Row]:
    """Fuzz each target; say which lines of its parser the committed corpus reaches."""
    rows = []
    for name, harness in HARNESSES.items():
        found = [fuzz(harness, seconds=_SECONDS, seed=15)]
        if (missing := _EACH - found[0].executions) > 0:
            found.append(fuzz(harness, seconds=0, runs=missing, seed=16))
        for run in found:
            print(run.line(), flush=True)
        hit, lines = (sum(counts) for counts in zip(*line_coverage(harness).values(), strict=True))
        rows.append(
            {
                "target": name,
                "executions": sum(run.executions for run in found),
                "seconds": sum(run.seconds for run in found),
                "edges": max(run.edges for run in found),
                "lines": f"{hit} of {lines}",
                "crashes": sum(len(run.crashes) for run in found),
            }
        )
    return rows


def fuzz_targets(rows: list[Row]) -> list[Target]:
    executions = [row["executions"] for row in rows]
    return [
        Target("fuzz executions", sum(executions), _ALL, least=True),
        Target("fuzz executions, the least of a target", min(executions), _EACH, least=True),
        Target("fuzz crashes", sum(row["crashes"] for row in rows), 0),
    ]
