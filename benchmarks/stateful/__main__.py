"""Query attacks and extraction against what watches sessions, and honest sessions beside them.

Attackers see labels alone, as `label-only` answers are, and may ask 1,500 times. An attack has
succeeded with the first row within its size that gets another class; it was flagged in time if a
session's alarm rang with that row or before, since what follows from an alarm follows for the
request that raised it. Beside that is said how often it rang a query earlier, and where the verdict
on that very row would have held it back. Honest sessions are drawn from rows that neither model
nor detector has seen; what alarms pay was chosen with some of them, and of the attacks, in view
(docs/adr/0019). Run: `make bench NAME=stateful`.
"""

import argparse
import time
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks.report import Target, write_report
from benchmarks.stateful.attacking import KNOWING, PLAIN, PUBLISHED, attack_rows
from benchmarks.stateful.extracting import extraction_row
from benchmarks.stateful.fashion import fashion, unseen
from benchmarks.stateful.honest import BURSTS, burst_rows, drawn_row, long_row, ordered_rows
from benchmarks.subjects import ROOT, Guarded, Subject, load
from gateway.sessions.evidence import CallerSession
from publishing.calibration.probe import SHIFTS

Row = dict[str, Any]
_KNOWN = ("Square, p = 0.8", "HopSkipJump")
_TIMED = 400
_OTHERS = "other rows"


def run(victims: int, sessions: int, extractions: int) -> None:
    digits, table, clothes = load("digits", 0.03), load("breast-cancer", 0.03), fashion()
    rows: list[Row] = []
    rows += attack_rows("digits", digits, 0.2, PUBLISHED, victims)
    rows += attack_rows("digits", digits, 0.2, _KNOWN, victims, KNOWING)
    rows += attack_rows("digits", digits, 0.2, ("random corners",), victims, (KNOWING[0],))
    rows += attack_rows("Fashion-MNIST", clothes, 0.1, PUBLISHED, min(victims, 100), (PLAIN,))
    rows += attack_rows("breast cancer", table, 0.05, ("HopSkipJump",), min(victims, 50))
    for step in (0.05, 0.1, 0.2):
        rows.append(extraction_row(digits.guarded, digits.x, step, extractions))
        print(rows[-1], flush=True)
    honest = honest_sessions(digits, table, clothes, sessions)
    costs = [cost(digits.guarded, 64), cost(clothes.guarded, 784)]
    write_report("stateful", rows + honest + costs, targets(rows, honest))


def honest_sessions(digits: Subject, table: Subject, clothes: Subject, sessions: int) -> list[Row]:
    few = sessions // 10
    found = [
        drawn_row("digits", digits.guarded, digits.x, sessions, 1),
        drawn_row("breast cancer", table.guarded, table.x, sessions, 1),
    ]
    x, y = unseen(0)
    found.append(drawn_row("Fashion-MNIST", clothes.guarded, x, sessions, 4))
    for name, guarded, rows in _others(digits, clothes):
        found.append(drawn_row(f"{name}, {_OTHERS}", guarded, rows, sessions, 5))
    for name, subject, rows, classes in (
        ("digits", digits, digits.x, digits.y),
        ("Fashion-MNIST", clothes, x, y),
    ):
        found.append(long_row(name, subject.guarded, rows, few, 6))
        found += ordered_rows(name, subject.guarded, rows, classes, few, 7)
        found += burst_rows(name, subject.guarded, rows, few // 3, 8)
    guarded = digits.guarded
    for name, moved in guarded.probe.shifts(digits.x, np.random.default_rng(2)):
        found.append(drawn_row(f"digits, {name}", guarded, moved, few, 3))
    for each in found:
        print(each, flush=True)
    return found


def _others(digits: Subject, clothes: Subject) -> list[tuple[str, Guarded, Any]]:
    """Of digits those that the detector was set on. By these, and half of those of Fashion-MNIST,
    what alarms pay was chosen.
    """
    data = load_file(ROOT / "data" / "digits.safetensors")
    seen = np.concatenate([data["x_fit"], data["x_calibration"]]).astype(np.float32)
    return [("digits", digits.guarded, seen), ("Fashion-MNIST", clothes.guarded, unseen(1)[0])]


def cost(guarded: Guarded, width: int) -> Row:
    """What a row costs that comes alone to a session that is full, in microseconds of one core."""
    rows, session = np.random.default_rng(0).random((6, _TIMED, width), np.float32), CallerSession()
    taken = []
    for part in rows:
        began = time.thread_time()
        for row in part:
            (given,) = guarded.printer.of(row[None], 0, 1, guarded.alike)
            session.add(given, int(10 * row[0]), 0.0)
        taken.append(time.thread_time() - began)
    # The first part fills the session.
    found = {
        "cost": f"{width} elements",
        "us_a_row": min(taken[1:]) / _TIMED * 1e6,
        "bytes_a_row": len(given.encode()),
    }
    print(found, flush=True)
    return found


def targets(rows: list[Row], honest: list[Row]) -> list[Target]:
    found = []
    for row in rows:
        if not row.get("promised"):
            continue
        value = row["flagged_before_success"]
        found.append(
            Target(f"flagged before success: {row['attack']}", value, 0.95, True).because(
                f"{row['succeeded']} of {row['attacks']} succeed, "
                f"{row['succeeded_within_2_queries']} with their first move, which no alarm can "
                f"precede; it rings a query earlier in {row['flagged_a_query_earlier']:.3f}"
            )
        )
    found += [
        Target(f"honest sessions flagged: {row['honest']}", row["flagged"], 0.001).because(
            _why(row)
        )
        for row in honest
        if row["honest"].split(", ")[-1] not in (*SHIFTS, _OTHERS)
    ]
    for target in found:
        print(target.line())
    return found


def _why(row: Row) -> str:
    if row["honest"].split(", ")[-1] in BURSTS:
        return (
            "near duplicates, some answered otherwise: nothing here tells them from a search; a "
            "policy has to let `alert` follow for such callers"
        )
    flagged = round(row["flagged"] * row["sessions"])
    return f"{flagged} of {row['sessions']} sessions; stated bound {row['stated_bound']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=3000)
    parser.add_argument("--extractions", type=int, default=20)
    given = parser.parse_args()
    run(given.victims, given.sessions, given.extractions)


if __name__ == "__main__":
    main()
