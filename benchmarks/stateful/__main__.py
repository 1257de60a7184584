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
from typing import Any

import numpy as np

from benchmarks.report import Target, finish
from benchmarks.screening import subjects
from benchmarks.screening.sources import FASHION
from benchmarks.stateful.attacking import KNOWING, PLAIN, PUBLISHED, attack_rows, extraction_row
from benchmarks.stateful.honest import BURSTS, burst_rows, drawn_row, long_row, ordered_rows
from benchmarks.subjects import Guarded, WatchedModel, fashion_rows, load
from gateway.sessions.fingerprints import Printer
from publishing.calibration.probe import SHIFTS

# Rows of Fashion-MNIST that are in no slice of it.
_UNSEEN, _MORE = 6600, 4000


def fashion() -> WatchedModel:
    """Fashion-MNIST with the plain model of `benchmarks.screening`. Raises FileNotFoundError where
    there are no data.
    """
    found = subjects.subject(FASHION, subjects.PLAIN, 0)
    (detector,) = found.detectors()
    probe = found.probe
    x, y = found.slices["test"]
    right = np.flatnonzero(probe.answers(x) == y)
    guarded = Guarded(probe, detector, Printer(b"k" * 32, "fashion"), alike=True)
    return WatchedModel(guarded, x, y, right)


def unseen(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes that neither model nor detector has seen, part 0 or 1 of them."""
    found = fashion_rows(_UNSEEN + 2 * _MORE)
    if found is None:
        raise FileNotFoundError("Fashion-MNIST")
    at = slice(_UNSEEN + part * _MORE, _UNSEEN + (part + 1) * _MORE)
    return found[0][at], found[1][at]


Row = dict[str, Any]
_KNOWN = ("Square, p = 0.8", "HopSkipJump")


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
    finish("stateful", rows + honest, targets(rows, honest))


def honest_sessions(
    digits: WatchedModel, table: WatchedModel, clothes: WatchedModel, sessions: int
) -> list[Row]:
    few = sessions // 10
    found = [
        drawn_row("digits", digits.guarded, digits.x, sessions, 1),
        drawn_row("breast cancer", table.guarded, table.x, sessions, 1),
    ]
    x, y = unseen(0)
    found.append(drawn_row("Fashion-MNIST", clothes.guarded, x, sessions, 4))
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
        if row["honest"].split(", ")[-1] not in SHIFTS
    ]
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
