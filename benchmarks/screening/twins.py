"""`make bench NAME=screening`, its third part: rows that turn the INT8 answer and nothing else.

On the way from each row that is told right to what PGD makes of it, the point is looked for at
which INT8 turns and its float32 twin, whose response is measured, does not. Two detectors of the
same fit judge it: one "before", of features alone, and one that compares answers with the twin's.
What that costs is the rest: false alarms, and other attacks, for whose sake a threshold lay lower.
Writes results/twins.json.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.report import Target, write_report
from benchmarks.screening.measures import share, together
from benchmarks.screening.sources import CANCER, CREDIT, DIGITS, FASHION, Source
from benchmarks.screening.subjects import HARDENED, PLAIN, Subject, subject
from inference.screening.detector import Detector
from publishing.calibration.detector_fit import fit
from publishing.calibration.served_rows import BORDER, ServedProber

CASES = ((DIGITS, PLAIN, 5), (DIGITS, HARDENED, 5), (CANCER, PLAIN, 5), (CREDIT, PLAIN, 5))
ONE_SEED = (FASHION, PLAIN, 1)
_PGD = "pgd-0.2"
_FLAGGED = "turns INT8 alone: flagged"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", help="a data set's name")
    arguments = parser.parse_args()
    rows = [
        _row(source, model, min(seeds, arguments.seeds))
        for source, model, seeds in (*CASES, ONE_SEED)
        if not arguments.only or source.name in arguments.only
    ]
    targets = list(_targets(rows))
    _show(rows)
    for target in targets:
        Console().print(target.line(), highlight=False)
    write_report("twins", rows, targets)


def _row(source: Source, model: str, seeds: int) -> Row:
    found = [_measured(subject(source, model, seed)) for seed in range(seeds)]
    verdicts = [each.pop("counts_for") for each in found]
    return {
        "data": source.title,
        "model": model,
        "seeds": seeds,
        "counts_for": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        **{
            name: together([each[name] for each in found if name in each])
            for name in dict.fromkeys(name for each in found for name in each)
        },
    }


def _measured(attacked: Subject) -> Row:
    before = ServedProber(attacked.probe, attacked.served(), compared=False)
    after = replace(before, compared=True)
    older, newer = _fitted(attacked, before), _fitted(attacked, after)
    x, y = attacked.slices["test"]
    right = x[after.answers(x) == y]
    made = dict(replace(after, border=True).attacks(right, np.random.default_rng(attacked.seed)))
    found: Row = {
        "counts_for": str(newer.disagreement),
        "clean: disagrees": share(after.measure(x)[1][:, -1] > 0),
        "clean: flagged before": share(_flagged(older, before, x)),
        "clean: flagged": share(_flagged(newer, after, x)),
        "clean: bound": newer.calibration.adversarial.bound,
    }
    for name, title in ((BORDER, "turns INT8 alone"), (_PGD, _PGD)):
        turned = made[name][after.answers(made[name]) != after.answers(right)]
        found[f"{title}: turned"] = len(turned) / len(right)
        if len(turned):
            found[f"{title}: flagged before"] = share(_flagged(older, before, turned))
            found[f"{title}: flagged"] = share(_flagged(newer, after, turned))
            found[f"{title}: suspect before"] = share(_suspect(older, before, turned))
            found[f"{title}: suspect"] = share(_suspect(newer, after, turned))
    return found


def _fitted(attacked: Subject, prober: ServedProber) -> Detector:
    fit_rows, calibration = (attacked.slices[name][0] for name in ("fit", "calibration"))
    draw = np.random.default_rng(attacked.seed)
    return fit(prober, fit_rows, calibration, draw, compared=prober.compared)


def _flagged(
    detector: Detector, prober: ServedProber, x: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    return detector.scores(prober.measure(x)[1]) > detector.threshold


def _suspect(
    detector: Detector, prober: ServedProber, x: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    return detector.scores(prober.measure(x)[1]) > detector.suspect_threshold


def _targets(rows: list[Row]) -> Iterator[Target]:
    for row in rows:
        name = f"{row['data']}, {row['model']}"
        bound, alarms = row["clean: bound"]["mean"], row["clean: flagged"]["mean"]
        yield Target(f"{name}: clean rows flagged", alarms, bound)
        if _FLAGGED in row:
            caught = Target(f"{name}: {_FLAGGED}", row[_FLAGGED]["mean"], 0.99, least=True)
            rules = ", ".join(f"{each} in {n}" for each, n in row["counts_for"].items())
            why = f"honest rows disagree too often, or too few rows calibrate; by seeds: {rules}"
            yield caught if caught.met else caught.because(why)


def _show(rows: list[Row]) -> None:
    table = Table("data", "model", "counts for", "clean disagree", "clean flagged")
    for title in ("turns INT8 alone", _PGD):
        table.add_column(f"{title}: turned / flagged before / now / suspect before / now")
    for row in rows:
        cells = [row["data"], row["model"], str(row["counts_for"])]
        cells += [f"{row[f'clean: {name}']['mean']:.4f}" for name in ("disagrees", "flagged")]
        for title in ("turns INT8 alone", _PGD):
            names = ("turned", "flagged before", "flagged", "suspect before", "suspect")
            means = (row.get(f"{title}: {name}", {"mean": np.nan})["mean"] for name in names)
            cells.append(" / ".join(f"{mean:.2f}" for mean in means))
        table.add_row(*cells)
    Console().print(table)


if __name__ == "__main__":
    main()
