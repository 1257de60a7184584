"""`make bench NAME=guide`: what the guide asks for, gathered from the results of other benchmarks.

Nothing is measured here. Each figure of docs/guide.md that has an aim names the result file in
which it stands, and is met, MISSED or NOT MEASURED there. It is NOT MEASURED where the file or the
figure is not there, has no value, or was taken with fewer seeds or tokens than the aim asks for.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Row, Target, finish, show
from training.recipe.federated import CLOSEST, LOWEST

MET, MISSED, NOT_MEASURED = "met", "MISSED", "NOT MEASURED"
_SEEDS, _TOKENS, _KEPT = 10, 8192, 0.98
Document = dict[str, Any]


def _enough(document: Document) -> str:
    return ""


def _ten_seeds(document: Document) -> str:
    told = {row["arm"]: row["below_honest"] for row in document["rows"] if "below_honest" in row}
    # As the benchmark's targets: of the better rule, where it was measured.
    ours = [arm for arm in told if arm.startswith(LOWEST)] or [
        arm for arm in told if arm.startswith(CLOSEST)
    ]
    seeds = min((told[arm]["seeds"] for arm in ours), default=0)
    return "" if seeds >= _SEEDS else f"{seeds} seeds where the aim asks for {_SEEDS}"


def _long_text(document: Document) -> str:
    tokens = document.get("tokens", 0)
    return "" if tokens >= _TOKENS else f"{tokens} tokens where the aim asks for {_TOKENS}"


@dataclass(frozen=True, slots=True)
class GuideSource:
    """Where figures of a part of the guide stand: targets of `file` that begin with one of `names`,
    or all. `lacks` says why a document's figures do not count, and `more` makes targets of its
    rows. `asked` are the aims without figures, for where there are none; `limit` is what to know of
    the figures.
    """

    item: int
    part: str
    file: str
    names: tuple[str, ...] = ("",)
    lacks: Callable[[Document], str] = _enough
    more: Callable[[Document], list[Target]] = lambda document: []
    asked: tuple[Target, ...] = ()
    limit: str = ""


def _recall(document: Document) -> list[Target]:
    """The share of a name's recall that attention windows keep at half of a text."""
    ways = {row["way"]: row["recall"] for row in document["rows"] if "recall" in row}
    if not {"full", "windows"} <= ways.keys():
        return []
    kept = ways["windows"]["50%"] / ways["full"]["50%"]
    why = "windows chosen by perplexity alone forget; recall.json has those of publishing's default"
    aim = Target("recall kept at half of a text", kept, _KEPT, least=True)
    return [aim if aim.met else aim.because(why)]


def _poisoned(document: Document) -> list[Target]:
    """The other end of the interval of what one poisoner of nine takes from the better rule."""
    lost = {row["arm"]: row.get("below_honest", {}) for row in document["rows"]}
    return [
        Target(f"{arm}: points lost, high end of 95%", each["mean"] + each["off"], 1.0)
        for arm, each in lost.items()
        if arm.startswith(LOWEST) and "off" in each
    ]


_ENCODER = ("onnx window: percent less memory than onnx fused", "window: percent of full")
_SPLIT = ("digits: loss of two processes beside one's, split tensor",)
SOURCES = (
    GuideSource(1, "devices", "gpu.json"),
    GuideSource(2, "CPU, GPU and NPU mixed", "placement.json", limit="speeds are simulated"),
    GuideSource(
        *(3, "attention windows of a decoder", "windows.json"),
        lacks=_long_text,
        more=_recall,
        limit="tokens a second are of random weights; windows were chosen without regard to recall",
    ),
    GuideSource(
        *(3, "attention windows of a decoder that recall", "recall.json"),
        lacks=_long_text,
        limit="tokens a second are of random weights; recall is that of named numbers",
    ),
    GuideSource(
        *(3, "attention windows in an encoder's response graph", "longtexts.json"),
        limit="of random weights, in the size of two of MiniLM's layers",
    ),
    GuideSource(3, "attention windows of an encoder", "training.json", _ENCODER),
    GuideSource(
        *(4, "distillation of a language model", "language.json"),
        asked=tuple(
            Target(
                f"{size} sequences: percent of accuracy that soft targets gain over hard ones",
                *(None, 12.0, True),
            )
            for size in ("1,000", "10,000")
        ),
    ),
    GuideSource(
        *(5, "quantization-aware training", "rounding.json"),
        limit="accuracy of classifiers where the guide has BLEU; times of a busy machine",
    ),
    GuideSource(
        *(6, "federated training", "federated.json"),
        ("one poisoner of nine",),
        _ten_seeds,
        _poisoned,
    ),
    GuideSource(
        *(7, "tensor parallel of a decoder", "split.json"),
        limit="random weights; one answer at a time",
    ),
    GuideSource(7, "tensor parallel in training", "training.json", _SPLIT),
    GuideSource(
        *(9, "monitoring, and a rollback in minutes", "drill.json"),
        limit="one run, by commands instead of people; beside other work another missed the drift",
    ),
)


def gathered(source: GuideSource, folder: Path) -> list[Row]:
    """A row for each figure of a source."""
    place = folder / source.file
    if not place.exists():
        return _nothing(source, "the file is not there")
    document = json.loads(place.read_text())
    named = [
        Target(*(each[key] for key in ("name", "value", "target", "least", "why")))
        for each in document["targets"]
        if each["name"].startswith(source.names)
    ]
    named += source.more(document)
    if not named:
        return _nothing(source, "no such figure in the file")
    return [_row(source, each, source.lacks(document)) for each in named]


def _nothing(source: GuideSource, why: str) -> list[Row]:
    asked = source.asked or (Target(source.part, None, 0.0),)
    return [_row(source, each, why) for each in asked]


def _row(source: GuideSource, aim: Target, lacks: str) -> Row:
    measured = aim.value is not None and not lacks
    state = (MET if aim.met else MISSED) if measured else NOT_MEASURED
    if lacks and aim.value is not None:
        lacks = f"{lacks}; with those {aim.value:.3g}"
    return {
        "item": source.item,
        "part": source.part,
        "figure": aim.name,
        "state": state,
        "value": aim.value if measured else None,
        "target": aim.target,
        "least": aim.least,
        "why": "; ".join(each for each in (lacks, aim.why) if each),
        "limit": source.limit,
        "file": source.file,
    }


def targets(rows: Sequence[Row]) -> list[Target]:
    """The same rows as targets; one without a value is neither met nor missed."""
    return [
        Target(
            f"{row['item']}. {row['part']}: {row['figure']} ({row['file']})",
            *(row["value"], row["target"], row["least"]),
            f"{NOT_MEASURED}: {row['why']}" if row["state"] == NOT_MEASURED else row["why"],
        )
        for row in rows
    ]


def main() -> None:
    rows = [row for source in SOURCES for row in gathered(source, RESULTS)]
    show(rows, ("item", "part", "figure", "state", "value", "target", "file"))
    counts = {
        state: sum(row["state"] == state for row in rows) for state in (MET, MISSED, NOT_MEASURED)
    }
    finish("guide", rows, targets(rows), counts=counts)


if __name__ == "__main__":
    main()
