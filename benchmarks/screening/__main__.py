"""`make bench NAME=screening`: what screening catches, what it disturbs, and what it does not stop.

Images and tables, each with a plain and a hardened model, each split anew by five seeds. A detector
is fitted as a version's is. Attacks are made on test rows that the model tells right, and count
where they turned the answer. Thresholds "at 1%" and "at 5%" are set on clean test rows, to compare
with what others report; "flagged" and "suspect" are the detector's own verdicts. "Unseen" is a
detector that was fitted without the family that the attack belongs to. Writes
results/screening.json, and screening-limits.svg, which shows what gets past it.

Models, attacks and figures are kept below build/bench/screening, by data, model, seed and code, so
a run that was stopped goes on. `--only` measures a part; of the others the result keeps its rows,
and names in its notes those that other code measured, and what is left out.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import RESULTS, Row, earlier, finish, show
from benchmarks.screening import limits_plot, measures
from benchmarks.screening.sources import SOURCES, DataSet
from benchmarks.screening.subjects import CACHE, MODELS, subject
from benchmarks.screening.targets import targets_of

SEEDS = 5
_COLUMNS = ("turned", "auroc", "tpr_at_1_percent", "tpr_at_5_percent", "flagged", "auroc_unseen")
# What a figure depends on: rows that other code measured are told apart.
_CODE = ("benchmarks/screening", "publishing/calibration", "inference/screening", "training/steps")


def code() -> str:
    """A digest of the sources that a figure depends on."""
    files = sorted(path for folder in _CODE for path in Path(folder).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", action="append", help="DATA or DATA/MODEL, as digits/plain")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = [(source, model) for source in SOURCES for model in MODELS]
    known = {name for part in parts for name in _names(*part)}
    if unknown := set(arguments.only or ()) - known:
        parser.error(f"not one of {', '.join(sorted(known))}: {', '.join(sorted(unknown))}")
    before = {(row["data"], row["model"]): row for row in earlier("screening")}
    rows, notes, now = [], {}, code()
    for source, model in parts:
        name, old = f"{source.title}, {model}", before.get((source.title, model))
        if not arguments.only or _names(source, model) & set(arguments.only):
            try:
                rows.append(_joined(source, model, arguments.seeds, now))
                _show(rows[-1])
            except FileNotFoundError as error:
                notes[name] = str(error)
        elif old is not None:
            rows.append(old)
            if old.get("code") != now:
                notes[name] = "kept as earlier code measured it"
        else:
            notes[name] = "left out"
    finish("screening", rows, targets_of(rows), notes)
    limits_plot.draw(rows, RESULTS / "screening-limits.svg")


def _names(source: DataSet, model: str) -> set[str]:
    return {source.name, f"{source.name}/{model}"}


def _joined(source: DataSet, model: str, seeds: int, now: str) -> Row:
    """Each figure's mean and interval over the seeds."""
    measured = list(_measured(source, model, seeds, now))
    return {
        "data": source.title,
        "model": model,
        "seeds": seeds,
        "code": now,
        "alarms": [each["clean"]["flagged"] for each in measured],
        **{kind: _over_seeds([each[kind] for each in measured]) for kind in measured[0]},
    }


def _over_seeds(values: Sequence[Any]) -> Any:
    """Tables of one form to a table of means; what a seed lacks, as it turned no row, is left out
    of the mean.
    """
    if not isinstance(values[0], dict):
        return measures.together(values)
    names = dict.fromkeys(name for value in values for name in value)
    return {name: _over_seeds([value[name] for value in values if name in value]) for name in names}


def _measured(source: DataSet, model: str, seeds: int, now: str) -> Iterator[Row]:
    for seed in range(seeds):
        kept = CACHE / source.name / model / str(seed) / f"figures-{now}.json"
        if not kept.exists():
            found = measures.measure(subject(source, model, seed))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found))
            print(f"{source.title}, {model}, seed {seed}", flush=True)
        yield json.loads(kept.read_text())


def _show(row: Row) -> None:
    lines = [{"attack": name, **found} for name, found in row["attacks"].items()]
    show(lines, ("attack", *_COLUMNS), f"{row['data']}, {row['model']}")
    for kind in ("clean", "shifts", "knowing"):
        show([row[kind]])


if __name__ == "__main__":
    main()
