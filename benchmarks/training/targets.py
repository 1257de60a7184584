"""What each part of the workshop should reach."""

from typing import Any

from benchmarks.report import Target

Row = dict[str, Any]
_WIDE = "the interval over the seeds is as wide as the gain"
# The second goes on block by block behind attention, as no layer of torch's does by itself.
_BESIDE = (
    ("torch window", "torch fused"),
    ("torch window", "torch fused, blocks"),
    ("onnx window", "onnx fused"),
)
_ORDER = (
    "the order in which float32 adds: in double precision the same steps are {:.0e} apart, so no "
    "part is added twice or left out, and one process goes as far with its first weights off by "
    "half a last place"
)
_BLOCKS = "what is left are states of the whole text before and behind the layers"
_SAYS = {"added": "what a text adds", "peak": "the whole process"}
_ALIKE = "as often right as the default student, in no more bytes"


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
        guessed = arms["argmax"]["over_hard"]
        found += [
            Target(
                f"{data}: points that soft targets gain over hard labels, low end",
                gain["mean"] - gain["off"],
                0.0,
                least=True,
                why=f"{_shown(gain)} points: not to be told from none",
            ),
            Target(
                f"{data}: percent that soft targets gain over hard labels",
                100 * gain["mean"] / hard,
                12.0,
                least=True,
                why="the teacher, which has the same few labels, knows hardly more: its answers "
                f"taken for labels gain {_shown(guessed)} points",
            ),
            Target(
                f"{data}: points that adaptive gains over the best fixed setting, low end",
                adaptive["mean"] - adaptive["off"],
                0.0,
                least=True,
                why=f"{_shown(adaptive)} points beside the best of a grid, which costs a run for "
                "each of its settings where adaptive costs one",
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


def _search(rows: list[Row]) -> list[Target]:
    return [
        Target(
            f"{row['data']}: points that the found student gains over the default, low end",
            row["over_default"]["mean"] - row["over_default"]["off"],
            0.0,
            least=True,
            why=_ALIKE,
        )
        for row in _of(rows, "search")
        if row["arm"] == "found"
    ]


def _prose(rows: list[Row]) -> list[Target]:
    return [
        Target(
            "language model: percent of perplexity that soft targets save over hard, low end",
            row["percent_less"]["mean"] - row["percent_less"]["off"],
            0.0,
            least=True,
            why=_WIDE,
        )
        for row in _of(rows, "prose")
        if row["chosen"]
    ]


def _devices(rows: list[Row]) -> list[Target]:
    mine = _of(rows, "devices")
    exact = {_run(row): row["loss_apart"] for row in mine if _is_exact(row)}
    found = []
    for row in mine:
        how = f"split {row['split']}" + (", in double precision" if _is_exact(row) else "")
        name = f"{row['data']}: loss of two processes beside one's, {how}, most apart"
        why = _ORDER.format(exact.get(_run(row), row["loss_apart"]))
        found.append(Target(name, row["loss_apart"], 1e-4, why=why))
    return found


def _run(row: Row) -> tuple[str, str]:
    return row["data"], row["split"]


def _is_exact(row: Row) -> bool:
    return bool(row.get("precision") == "float64")


def _windows(rows: list[Row]) -> list[Target]:
    ways = {row["way"]: row for row in _of(rows, "windows")}
    found = []
    for window, full in _BESIDE if ways else ():
        for what, why in (("added", _BLOCKS), ("peak", _held(ways[full]))):
            name = f"mebibytes_{what}"
            found.append(
                Target(
                    f"{window}: percent less memory than {full}, {_SAYS[what]}",
                    100 * (1 - ways[window][name] / ways[full][name]),
                    35.0,
                    least=True,
                    why=why,
                )
            )
    if ways:
        found.append(
            Target(
                "window: percent of full attention's accuracy on long e-mails",
                ways["accuracy"]["of_full"]["mean"],
                98.0,
                least=True,
            )
        )
    return found


def _held(row: Row) -> str:
    """What of a process no way of attending could save."""
    before, peak = row["mebibytes_before"], row["mebibytes_peak"]
    return (
        f"of {peak:.0f} MiB {before:.0f} stand there before the text comes, as libraries and "
        f"weights: a text that took nothing at all would save {100 * (1 - before / peak):.0f}%"
    )


def _shown(interval: Row) -> str:
    return f"{interval['mean']:.1f} ± {interval['off']:.1f}"


def _of(rows: list[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"] == part]


_PARTS = (
    *(_learning, _quantization, _memory, _privacy, _edge, _search, _prose),
    *(_devices, _windows),
)
