"""What training with clients should reach."""

from typing import Any

from benchmarks.federated.poisoned import LABELS, LABELS_ONCE, SIGN_FLIP, SIGN_ONCE
from benchmarks.report import Target
from training.recipe.federated import CLOSEST

Row = dict[str, Any]
_NAMES = {
    SIGN_FLIP: "its update turned round, ten times as large",
    LABELS: "labels turned, its update ten times as large",
    SIGN_ONCE: "its update turned round, no larger than others'",
    LABELS_ONCE: "labels turned",
}
_NEAR = "a group that lies no farther from the others than honest ones do is not told from them"


def targets(rows: list[Row]) -> list[Target]:
    """Means over the seeds, in points, for the arms that have rows."""
    arms = {row["arm"]: row for row in rows}
    found = []
    if CLOSEST in arms:
        found.append(
            Target(
                "nine clients, three secure sums: points below central training",
                arms[CLOSEST]["below_central"]["mean"],
                2.0,
            )
        )
    for poison, what in _NAMES.items():
        row = arms.get(f"{CLOSEST}, {poison}")
        if row is not None:
            moved = Target(
                f"one poisoner of nine ({what}): points lost", row["below_honest"]["mean"], 1.0
            )
            found.append(moved if moved.met else moved.because(_NEAR))
    return found
