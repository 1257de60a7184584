"""The figures that the detector was to reach, each on the worst of the data sets that it is of."""

from collections.abc import Sequence
from typing import Any

from benchmarks.report import Target
from benchmarks.screening.attacks import ATTACKS, BOUNDED, NEAR
from benchmarks.screening.measures import WORST
from benchmarks.screening.sources import DIGITS, SOURCES
from benchmarks.screening.subjects import HARDENED, PLAIN
from benchmarks.screening.texts.corpora import CORPORA

_IMAGES = {each.title for each in SOURCES if each.image}
_TEXTS = {each.title for each in CORPORA}
_SMALL = [each.name for each in ATTACKS if each.kind == BOUNDED and "half" in each.name]
_NEAR = [each.name for each in ATTACKS if each.kind == NEAR]
_SELDOM = 0.02
Row = dict[str, Any]


def targets_of(rows: Sequence[Row]) -> list[Target]:
    numbers = [row for row in rows if row["data"] not in _TEXTS]
    found = [*_alarms(rows), *_caught(numbers)]
    for row in numbers:
        if row["model"] == HARDENED:
            joint = row["knowing"]["joint_at_threshold"]["mean"]
            found.append(
                Target(f"adaptive attacker, hardened model, {row['data']}", joint, 0.15).because(
                    "" if joint <= 0.15 else _KNOWING
                )
            )
    for row in rows:
        if row["data"] in _TEXTS:
            found += _on_texts(row)
    return found


_KNOWING = (
    "most of the rows in which the hardened network itself gives way are also brought below the "
    "threshold, which has to hold under noise as large as the attacks; of a plain network, nearly "
    "all. Screening is no defence against whoever knows it"
)
_NOISY = (
    "at that threshold a fifth to a half of noise as large as the attacks is flagged too; at the "
    "detector's own, which is raised until such noise passes, the least is {flagged:.2f}"
)
_UNSURE = (
    "the clean rows that score highest lie at a border themselves: of those above that threshold a "
    "third are told wrong, and their median lead is an eighth of the others' (plain model, one "
    "seed). An attack that stops at a border looks as they do. At the detector's own threshold the "
    "least is {flagged:.2f}; a score that is fitted to how far the INT8 model parts from its twin "
    "would reach {int8:.2f}, and is not built (docs/adr/0017)"
)
_DEEP = (
    "unbounded attacks (PGD-L2 of 2.0, more than half of a digit's own norm; CW at κ = 5) go so "
    "deep into the other class of a hardened network that the graph measures there what it "
    "measures on clean rows"
)
_WORDS = (
    "an attack that asks, and stops where the answer turns, changes few words, and a text of few "
    "words that the model tells wrong (accuracy {accuracy:.2f}) looks as one that was turned. "
    "Tried with little or no gain: reactions of all tokens, sorted; densities of the embeddings "
    "and of the first layer; answers with the most telling words, and with each half of the "
    "words, left out (ADR 18)"
)
_CHANCE = "beyond are {those}: of so few rows as many come by chance under that bound, too"


def _alarms(rows: Sequence[Row]) -> list[Target]:
    beyond = [
        f"{alarm:.1%} of {row['clean']['rows']['mean']:g} rows, {row['data']}, {row['model']}"
        for row in rows
        for alarm in row["alarms"]
        if alarm > row["clean"]["bound"]["mean"]
    ]
    share = len(beyond) / sum(len(row["alarms"]) for row in rows)
    alarms = Target("models, data sets and seeds with more false alarms than stated", share, 0.05)
    shifted = [
        (value["mean"], f"{name}, {row['data']}, {row['model']}")
        for row in rows
        for name, value in row["shifts"].items()
    ]
    most, where = max(shifted)
    return [
        alarms.because(_CHANCE.format(those="; ".join(beyond)) if beyond else ""),
        Target(f"worst benign change ({where}), flagged", most, 0.05),
    ]


def _caught(rows: Sequence[Row]) -> list[Target]:
    found = []
    for model in (PLAIN, HARDENED):
        mine = [row for row in rows if row["model"] == model]
        for row in mine:
            if row["data"] in _IMAGES:
                found += _on_images(row)
        if mine:
            found += _unseen(mine, model)
    return found


def _on_images(row: Row) -> list[Target]:
    found = []
    for kind, names, least in (
        ("minimal-norm attacks", _NEAR, 0.95),
        ("seen family, small size", _SMALL, 0.9),
    ):
        value, where = _least(row, names, "tpr_at_1_percent")
        flagged, _ = _least(row, names, "flagged")
        name = f"{kind}, {row['data']}, {row['model']}: TPR at 1% (least: {where})"
        target = Target(name, value, least, True)
        if row["data"] == DIGITS.title:
            # Said where the target is met, too: the figure alone would mislead.
            target = target.because(_NOISY.format(flagged=flagged))
        elif not target.met:
            int8, _ = _least(row, names, "tpr_at_1_percent_with_int8")
            target = target.because(_UNSURE.format(flagged=flagged, int8=int8))
        found.append(target)
    return found


def _unseen(rows: Sequence[Row], model: str) -> list[Target]:
    """Of data sets that are images or tables; of each attack that turns more than a few rows."""
    unseen = [
        (attack["auroc_unseen"]["mean"], f"{name}, {row['data']}")
        for row in rows
        for name, attack in row["attacks"].items()
        if name != WORST and attack["turned"]["mean"] > _SELDOM
    ]
    mean = sum(value for value, _ in unseen) / len(unseen)
    worst, where = min(unseen)
    name = f"unseen attacks, {model}: worst AUROC ({where})"
    return [
        Target(f"unseen attacks, {model}: mean AUROC", mean, 0.95, True),
        Target(name, worst, 0.9, True).because("" if worst >= 0.9 else _DEEP),
    ]


def _on_texts(row: Row) -> list[Target]:
    """Both the mean and the least over attacks: a mean alone would hide what is let through."""
    found = []
    for figure, name, least in (("auroc", "AUROC", 0.92), ("tpr_at_5_percent", "TPR at 5%", 0.5)):
        values = [
            (attack[figure]["mean"], each)
            for each, attack in row["attacks"].items()
            if each != WORST and attack["turned"]["mean"] > _SELDOM
        ]
        mean = sum(value for value, _ in values) / len(values)
        worst, where = min(values)
        title = f"texts, {row['data']}, {row['model']}: {name}"
        for value, of in ((mean, "mean over attacks"), (worst, f"least: {where}")):
            target = Target(f"{title} ({of})", value, least, True)
            accuracy = row["clean"]["accuracy"]["mean"]
            found.append(target.because("" if target.met else _WORDS.format(accuracy=accuracy)))
    return found


def _least(row: Row, names: Sequence[str], figure: str) -> tuple[float, str]:
    """The least over those attacks, where the attack turns more than a few rows."""
    return min(
        (float(row["attacks"][name][figure]["mean"]), name)
        for name in names
        if row["attacks"][name]["turned"]["mean"] > _SELDOM
    )
