"""`make bench NAME=screening`, its second part: what a first stage saves, and what it loses.

Each model is treated as `sealgate model publish` does
(`publishing.calibration.first_stage_choice`), and a first stage is measured whether or not it would
be taken; targets are of what would be published. "Alone" is the response graph on every row. Costs
are in float32 forwards of a row, in batches of 16, on this machine. Attacks count where they turned
the answer. Writes results/cascade.json.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import Target, write_report
from benchmarks.screening.cases import Case
from benchmarks.screening.knowing_stages import by_gradient, by_search
from inference.screening.detector import Detector, Verdict
from publishing.calibration.detector_fit import (
    attack_fit_rows,
    calibrate,
    draft_detector,
    least_threshold,
)
from publishing.calibration.first_stage_choice import LEAST_SECONDS, MOST_LOST, StageChoice, choose
from publishing.calibration.probe import Array
from publishing.calibration.screening_report import auroc
from publishing.calibration.served_rows import StagedProber

_DEMO = Path(__file__).parents[2] / "demo"
_SPAM = "MiniLM on e-mails"
# Why a target of costs is missed: on the models that come with the demo.
_SMALL = (
    "a forward of this model takes microseconds, less than what is measured of its answers does, "
    "step by step; in all the graph takes less than a request costs in the gateway itself, so "
    "publishing takes no first stage"
)
_FEW = "publishing chooses by rows of its own, and 300 tell AUROC to about .03"
Floats = Any


@dataclass(frozen=True, slots=True)
class Asked:
    """How many rows of each slice a model is measured on, and how many a adaptive attacker gets."""

    rows: tuple[int, int, int]
    known: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spam", type=Path, default=Path("build/bench/spam-32"))
    parser.add_argument("--rows", default="300,400,300", help="of e-mails: fit, calibration, test")
    parser.add_argument(
        "--known", type=int, default=40, help="e-mails that a adaptive attacker has"
    )
    parser.add_argument("--only", action="append", help="a model's title")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = tuple(int(size) for size in arguments.rows.split(","))
    mails = Asked((sizes[0], sizes[1], sizes[2]), arguments.known)
    numbers = Asked((10_000, 10_000, 10_000), 100)
    named: list[tuple[str, Path, Path, Asked]] = [
        (f"{name}", _DEMO / "models" / name, _DEMO / "data" / f"{name[:-2]}.safetensors", numbers)
        for name in ("digits-1", "digits-2", "breast-cancer-1")
    ]
    named.append((_SPAM, arguments.spam / "spam", arguments.spam / "spam.safetensors", mails))
    rows, notes = [], []
    for title, folder, data, asked in named:
        if arguments.only and title not in arguments.only:
            notes.append(f"not run: {title}")
        elif not data.exists():
            notes.append(f"{title}: make {data} makes it")
        else:
            rows.append(measured(Case.read(title, folder, data, asked.rows), asked.known))
            _show(rows[-1])
    targets = [target for row in rows for target in _targets(row)]
    for target in targets:
        print(target.line())
    write_report("cascade", rows, targets, notes=notes)


def measured(case: Case, known: int) -> dict[str, Any]:
    """Figures of one model; `known` is how many rows a adaptive attacker is given, at most."""
    seen = attack_fit_rows(case.prober, case.fit, np.random.default_rng(1))
    draft = draft_detector(seen)
    chosen = choose(seen, case.vectors, case.graphs, least=0.0)
    if chosen is None:
        raise ValueError(f"{case.title}: a class has too few rows")
    draft = replace(draft, first=chosen.stage)
    probe = StagedProber(case.prober, case.vectors, chosen.stage)
    joined, alone = _calibrated(draft, probe, case.calibration)
    clean = probe.measure(case.test)[1]
    own = case.prober.answers(case.test)
    row: dict[str, Any] = {
        "model": case.title,
        "chosen": chosen.value(chosen.pays and chosen.timing.graph >= LEAST_SECONDS),
        "clean": _shares(joined, alone, clean),
        "bounds": [joined.calibration.adversarial.bound, joined.calibration.suspect.bound],
        "shifts": {},
        "attacks": {},
    }
    draw = np.random.default_rng(2)
    for name, moved in case.prober.shifts(case.test, draw):
        row["shifts"][name] = _shares(joined, alone, probe.measure(moved)[1])
    for name, moved in case.prober.attacks(case.test, draw):
        logits, features = probe.measure(moved)
        turned = logits.argmax(axis=1) != own
        row["attacks"][name] = {"turned": _mean(turned)}
        if turned.any():
            row["attacks"][name] |= _caught(joined, alone, clean, features[turned])
    row["knowing"] = _known(case, joined, alone, clean, case.test[:known])
    row["forwards_in_int8"] = _in_int8(chosen)
    return row


def _calibrated(draft: Detector, probe: StagedProber, rows: Array) -> tuple[Detector, Detector]:
    """With both stages, and with the response graph alone."""
    features = probe.measure(rows)[1]
    moved = dict(probe.shifts(rows, np.random.default_rng(3)))
    shifted = {name: probe.measure(each)[1] for name, each in moved.items()}
    found = []
    for detector in (draft, replace(draft, first=None)):
        cut = 0 if detector.first is not None else draft.first_width
        scores = detector.scores(features[:, cut:])
        others = {name: detector.scores(each[:, cut:]) for name, each in shifted.items()}
        limits = calibrate(scores, others, least_threshold(detector))
        found.append(replace(detector, calibration=limits))
    return found[0], found[1]


def _shares(joined: Detector, alone: Detector, features: Floats) -> dict[str, float]:
    """How many rows go on, and are flagged with both stages and with the graph alone."""
    found = {"goes_on": _mean(joined.escalates(features))}
    for name, detector, scores in (
        ("", joined, joined.scores(features)),
        ("_alone", alone, joined.graph_scores(features)),
    ):
        verdicts = [detector.verdict(score) for score in scores.tolist()]
        found[f"flagged{name}"] = _mean([each is Verdict.ADVERSARIAL for each in verdicts])
        found[f"suspect{name}"] = _mean([each is not Verdict.CLEAN for each in verdicts])
    return found


def _caught(joined: Detector, alone: Detector, clean: Floats, features: Floats) -> dict[str, float]:
    scores, graph = ((each(clean), each(features)) for each in (joined.scores, joined.graph_scores))
    return {
        **_shares(joined, alone, features),
        "auroc": auroc(*scores),
        "auroc_alone": auroc(*graph),
        "tpr_at_5_percent": _above(*scores),
        "tpr_at_5_percent_alone": _above(*graph),
    }


def _known(
    case: Case, joined: Detector, alone: Detector, clean: Floats, rows: Array
) -> dict[str, float]:
    """Rows of which each is attacked by who knows both stages, and by who knows the graph alone."""
    attack: Callable[..., Floats] = by_gradient if case.config.tokens is None else by_search
    found: dict[str, float] = {"attacked": len(rows)}
    for name, detector, scores in (
        ("", joined, joined.scores(clean)),
        ("_alone", alone, joined.graph_scores(clean)),
    ):
        least = attack(case, joined, name == "", rows)
        ever = np.isfinite(least)
        found[f"turned{name}"] = _mean(ever)
        found[f"auroc{name}"] = auroc(scores, least[ever]) if ever.any() else 1.0
        found[f"unflagged{name}"] = _mean(least <= detector.threshold)
        found[f"unsuspected{name}"] = _mean(least <= detector.suspect_threshold)
    return found


def _in_int8(chosen: StageChoice) -> dict[str, float]:
    """What screening adds to an answer, in INT8 forwards."""
    timing = chosen.timing
    costs = {"staged": timing.staged, "alone": timing.graph}
    return {name: round(cost / timing.int8, 3) for name, cost in costs.items()}


def _targets(row: dict[str, Any]) -> list[Target]:
    """Of what is published: where no stage is taken, none loses anything, and the graph on every
    row is what screening costs.
    """
    found, known, chosen = row["attacks"].values(), row["knowing"], row["chosen"]
    taken = chosen["first_stage"]
    lost = [each["auroc_alone"] - each["auroc"] for each in found if "auroc" in each]
    to_knowing = known["auroc_alone"] - known["auroc"] if taken else 0.0
    cost = row["forwards_in_int8"]["staged" if taken else "alone"]
    title = row["model"] if taken else f"{row['model']}, no first stage"
    mean = float(np.mean(lost)) if taken else 0.0
    forwards = chosen["forwards"]["graph"]
    return [
        _target(f"{title}: AUROC lost, mean over attacks", mean, MOST_LOST, _FEW),
        _target(f"{title}: AUROC lost to who knows all", to_knowing, MOST_LOST, _passing(known)),
        _target(f"{title}: screening, in INT8 forwards", cost, 1.0, _SMALL),
        _target(f"{title}: response graph, in float32 forwards", forwards, 3.0, _SMALL),
    ]


def _passing(known: dict[str, float]) -> str:
    staged, alone = known["unsuspected"], known["unsuspected_alone"]
    return (
        f"publishing has no such walk to choose by; of {known['attacked']} rows {staged:.0%} are "
        f"not even suspect, and {alone:.0%} with the graph on every row"
    )


def _target(name: str, value: float, most: float, why: str) -> Target:
    found = Target(name, value, most)
    return found if found.met else found.because(why)


def _show(row: dict[str, Any]) -> None:
    console = Console(width=130)
    columns = ("turned", "goes_on", "auroc", "auroc_alone", "suspect", "suspect_alone")
    table = Table("attack", *columns, title=f"{row['model']}: {row['chosen']}")
    for name, found in row["attacks"].items():
        table.add_row(name, *(f"{found[each]:.3f}" if each in found else "" for each in columns))
    console.print(table)
    for kind in ("clean", "shifts", "knowing", "forwards_in_int8"):
        console.print(f"{kind}: {row[kind]}")


def _above(clean: Floats, scores: Floats) -> float:
    return _mean(scores > np.quantile(clean, 0.95, method="higher"))


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
