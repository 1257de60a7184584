"""The findings of the tests of faults: a table at the end, and benchmarks/results/faults.json."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import Target, write_report
from tests.support.harness.clients.callers import Callers, missing
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.processes.gateway_process import GatewayProcess

WRITE = "SEALGATE_FAULTS"
"""The variable by which `make test-extra NAME=faults` asks for the table and the file."""

# A gateway keeps what it has once needed: threads, connections' buffers, pages of its databases.
# The first flood leaves grpcio some 95 MB larger, the second hardly.
MOST_MB = 128.0


@dataclass(slots=True)
class Finding:
    """One fault: how long recovery took, of `target` seconds, and what held meanwhile. `load` is
    how many processes ran, or waited for a core.
    """

    fault: str
    recovery: float = 0.0
    target: float = 0.0
    answered: int = 0
    missing: int = 0
    wrong: int = 0
    mb_before: float = 0.0
    mb_after: float = 0.0
    told: dict[str, int] = field(default_factory=dict)
    note: str = ""
    load: float = 0.0


FINDINGS: list[Finding] = []


@contextmanager
def watched(fault: str, gateway: GatewayProcess, target: float) -> Iterator[Finding]:
    """Keeps what the block finds, and holds the gateway's memory against what it was before.

    `target`: in how many seconds it should have recovered.
    """
    finding = Finding(fault, target=target)
    finding.mb_before = gateway.memory()
    yield finding
    finding.mb_after = gateway.memory()
    finding.load = os.getloadavg()[0]
    assert finding.mb_after - finding.mb_before < MOST_MB, finding
    FINDINGS.append(finding)


def hold(finding: Finding, harness: GatewayHarness, callers: Callers, versions: set[str]) -> None:
    """Asserts what holds after any fault: each answer is in the log, and none is of another
    version.
    """
    finding.answered = len(callers.receipts)
    finding.told = {reason.name: count for reason, count in callers.failures.items()}
    finding.missing = missing(harness, callers)
    finding.wrong = sum(n for version, n in callers.versions.items() if version not in versions)
    assert finding.answered > 0
    assert finding.missing == 0, finding
    assert finding.wrong == 0, callers.versions


def show(*, whole: bool) -> None:
    """The table where it was asked for; the file too, of a run that is whole and has no failure."""
    if not FINDINGS or WRITE not in os.environ:
        return
    shown = Table(title="faults", title_justify="left")
    for name in ("fault", "recovery s", "target s", "answered", "missing", "wrong", "MB", "told"):
        shown.add_column(name, justify="left" if name in ("fault", "told") else "right")
    for item in FINDINGS:
        memory = f"{item.mb_before:.0f} to {item.mb_after:.0f}"
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(item.told.items()))
        figures = (item.answered, item.missing, item.wrong)
        shown.add_row(
            item.fault,
            f"{item.recovery:.2f}",
            f"{item.target:g}",
            *map(str, figures),
            memory,
            told + (f" ({item.note})" if item.note else ""),
        )
    console = Console(highlight=False, width=160)
    console.print(shown)
    goals = targets()
    for goal in goals:
        console.print(goal.line())
    if whole:
        write_report("faults", [row(item) for item in FINDINGS], goals)


def targets() -> list[Target]:
    """Every fault alike, but for how soon each should be over."""
    growth = max(item.mb_after - item.mb_before for item in FINDINGS)
    return [
        Target("answers missing from the log", float(sum(x.missing for x in FINDINGS)), 0.0),
        Target("answers of a wrong version", float(sum(x.wrong for x in FINDINGS)), 0.0),
        Target("growth of the gateway's memory in any fault, MB", growth, MOST_MB),
        *(_recovered(item) for item in FINDINGS),
    ]


def _recovered(item: Finding) -> Target:
    target = Target(f"recovery: {item.fault}, s", item.recovery, item.target)
    if target.met:
        return target
    return target.because(f"measured with {item.load:.0f} processes for {os.cpu_count()} cores")


def row(item: Finding) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Finding.__slots__}
