"""What each part of the workshop should reach."""

from typing import Any

from benchmarks.report import Target

Row = dict[str, Any]
_WIDE = "the interval over the seeds is as wide as the gain"
_EASY = "smaller on these data, at every setting tried"
_EVEN = "not shown to be better than the best of the grid"


def targets(rows: list[Row]) -> list[Target]:
    """For the parts that have rows."""
    found = [target for part in _PARTS for target in part(rows)]
    return [target.because("") if target.met else target for target in found]


def _learning(rows: list[Row]) -> list[Target]:
    mine, found = _of(rows, "distillation"), []
    for data in dict.fromkeys(row["data"] for row in mine):
        arms = {row["arm"]: row for row in mine if row["data"] == data}
        (best,) = (row for row in arms.values() if row["chosen"])
        gain, adaptive = best["over_hard"], arms["adaptive"]["over_best_fixed"]
        hard = arms["hard"]["accuracy"]["mean"]
        found += [
            Target(
                f"{data}: points that soft targets gain over hard labels, low end",
                gain["mean"] - gain["off"],
                0.0,
                least=True,
                why=_WIDE,
            ),
            Target(
                f"{data}: percent that soft targets gain over hard labels",
                100 * gain["mean"] / hard,
                12.0,
                least=True,
                why=_EASY,
            ),
            Target(
                f"{data}: points that adaptive gains over the best fixed setting, low end",
                adaptive["mean"] - adaptive["off"],
                0.0,
                least=True,
                why=_EVEN,
            ),
        ]
    return found


def _quantization(rows: list[Row]) -> list[Target]:
    arms = {row["arm"]: row for row in _of(rows, "quantization")}
    if not arms:
        return []
    found = [
        Target(
            "INT8 trained with rounding: times faster than fp32",
            arms["in training, 8 bits"]["times_faster"]["mean"],
            2.3,
            least=True,
        ),
        Target(
            "INT8 trained with rounding: points lost",
            arms["in training, 8 bits"]["loss"]["mean"],
            0.3,
        ),
    ]
    for bits in (8, 4):
        found.append(
            Target(
                f"{bits} bits trained with rounding: points lost, below those of rounding after",
                arms[f"in training, {bits} bits"]["loss"]["mean"],
                arms[f"after, {bits} bits"]["loss"]["mean"],
            )
        )
    return found


def _memory(rows: list[Row]) -> list[Target]:
    return [
        target
        for row in _of(rows, "memory")
        for target in (
            Target("checkpointing: percent less memory", row["less_memory"], 50.0, least=True),
            Target("checkpointing: percent more time", row["more_time"], 35.0),
        )
    ]


def _privacy(rows: list[Row]) -> list[Target]:
    return [
        Target(f"privacy: epsilon spent of {row['budget']:g}", row["spent"], row["budget"])
        for row in _of(rows, "privacy")
        if row["budget"]
    ]


def _edge(rows: list[Row]) -> list[Target]:
    return [
        target
        for row in _of(rows, "edge")
        for target in (
            Target("edge: megabytes of graph and tokenizer", row["megabytes"], 5.0),
            Target(
                "edge: percent of the teacher's accuracy",
                row["of_teacher"]["mean"],
                97.0,
                least=True,
            ),
        )
    ]


def _of(rows: list[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


_PARTS = (_learning, _quantization, _memory, _privacy, _edge)
