"""The figures that the detector was to reach, each on the worst of the data sets that it is of."""

from collections.abc import Sequence
from typing import Any

from benchmarks.report import Target
from benchmarks.screening.attacks import ATTACKS, BOUNDED, NEAR
from benchmarks.screening.measures import WORST
from benchmarks.screening.sources import DIGITS, SOURCES
from benchmarks.screening.subjects import HARDENED, PLAIN

_IMAGES = {each.title for each in SOURCES if each.image}
_SMALL = [each.name for each in ATTACKS if each.kind == BOUNDED and "half" in each.name]
_NEAR = [each.name for each in ATTACKS if each.kind == NEAR]
_SELDOM = 0.02
Row = dict[str, Any]


def targets_of(rows: Sequence[Row]) -> list[Target]:
    found = [*_alarms(rows), *_caught(rows)]
    for row in rows:
        if row["model"] == HARDENED:
            joint = row["knowing"]["joint_at_threshold"]["mean"]
            found.append(
                Target(f"adaptive attacker, hardened model, {row['data']}", joint, 0.15).because(
                    "" if joint <= 0.15 else _KNOWING
                )
            )
    return found


_KNOWING = (
    "most rows in which the network gives way are also brought below the threshold, which has to "
    "hold under noise as large as the attacks: screening is no defence against whoever knows it"
)
_NOISY = (
    "at that threshold a fifth to a half of noise as large as the attacks is flagged too; at the "
    "detector's own, which is raised until such noise passes, the least is {flagged:.2f}"
)
_UNSURE = (
    "the clean rows that score highest lie at a border themselves, and an attack that stops at a "
    "border looks as they do; at the detector's own threshold the least is {flagged:.2f}"
)
_DEEP = (
    "unbounded attacks go so deep into the other class of a hardened network that the graph "
    "measures there what it measures on clean rows"
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
            target = target.because(_UNSURE.format(flagged=flagged))
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


def _least(row: Row, names: Sequence[str], figure: str) -> tuple[float, str]:
    """The least over those attacks, where the attack turns more than a few rows."""
    return min(
        (float(row["attacks"][name][figure]["mean"]), name)
        for name in names
        if row["attacks"][name]["turned"]["mean"] > _SELDOM
    )
