"""`make bench-screening`: what screening catches, what it disturbs, and what it does not stop.

Three data sets, each with a plain and a hardened model, each split anew by five seeds. A detector
is fitted as a version's is. Attacks are made on test rows that the model tells right, and count
where they turned the answer. Thresholds "at 1%" and "at 5%" are set on the clean test rows, to
compare with what others report; "flagged" and "suspect" are the detector's own verdicts. "Unseen"
is a detector that was fitted without the family that the attack belongs to. Writes
results/screening.json and screening.svg.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import RESULTS, write_report
from benchmarks.screening import attacks, knowing, measures
from benchmarks.screening.plot import draw
from benchmarks.screening.subjects import CACHE, DIGITS, MODELS, PLAIN, SOURCES, Source, subject
from benchmarks.screening.targets import targets_of

SEEDS = 5
_ROOT = Path(__file__).parents[2]
# What figures depend on: those of other code are not gone on with.
_CODE = (
    *(f"benchmarks/screening/{name}.py" for name in ("subjects", "attacks", "knowing", "measures")),
    *(f"publishing/{name}.py" for name in ("calibrate", "probe")),
    *(f"inference/screening/{name}.py" for name in ("attack", "calibration", "detector")),
    *(f"training/{name}.py" for name in ("mlp", "reference", "response")),
)
_COLUMNS = ("auroc", "tpr_at_1_percent", "tpr_at_5_percent", "flagged", "auroc_unseen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data", choices=[each.name for each in SOURCES], action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [each for each in SOURCES if not arguments.data or each.name in arguments.data]
    rows = []
    notes = [f"not run: {each.title}" for each in SOURCES if each not in wanted]
    for source in wanted:
        try:
            for model in MODELS:
                rows.append(_joined(source, model, arguments.seeds))
                _show(rows[-1])
        except FileNotFoundError as error:
            notes.append(str(error))
    targets = targets_of(rows)
    for target in targets:
        print(target.line())
    draw(subject(DIGITS, PLAIN, 0), RESULTS / "screening.svg")
    write_report("screening", rows, targets, notes=notes, settings=_settings(arguments.seeds))


def _joined(source: Source, model: str, seeds: int) -> dict[str, Any]:
    """Each figure's mean and interval over the seeds."""
    measured = list(_measured(source, model, seeds))
    return {
        "data": source.title,
        "model": model,
        "alarms": [each["clean"]["flagged"] for each in measured],
        **{kind: _over_seeds([each[kind] for each in measured]) for kind in measured[0]},
    }


def _over_seeds(values: list[Any]) -> Any:
    """Tables of one form to a table of means; what a seed lacks, as it turned no row, is left out
    of the mean.
    """
    if not isinstance(values[0], dict):
        return measures.together(values)
    names = dict.fromkeys(name for value in values for name in value)
    return {name: _over_seeds([value[name] for value in values if name in value]) for name in names}


def _measured(source: Source, model: str, seeds: int) -> Iterator[dict[str, Any]]:
    code = hashlib.sha256(b"".join((_ROOT / path).read_bytes() for path in _CODE)).hexdigest()[:16]
    for seed in range(seeds):
        kept = CACHE / source.name / model / str(seed) / f"figures-{code}.json"
        if not kept.exists():
            found = measures.measure(subject(source, model, seed))
            kept.write_text(json.dumps(found))
            print(f"{source.title}, {model}, seed {seed}", flush=True)
        yield json.loads(kept.read_text())


def _settings(seeds: int) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "sizes": {
            each.title: {
                "eps": each.eps,
                "of": "the domain" if each.image else "each column's interquartile range",
                "rows": dict(zip(("train", "fit", "calibration"), each.sizes, strict=True)),
            }
            for each in SOURCES
        },
        "most_rows_attacked": {each.name: each.rows for each in attacks.ATTACKS},
        "square_queries": attacks.SQUARE_QUERIES,
        "carlini_wagner": {"searches": attacks.CW_SEARCHES, "steps": attacks.CW_STEPS},
        "knowing_attacker": {
            "rows": measures.KNOWING_ROWS,
            "restarts": knowing.RESTARTS,
            "steps": knowing.STEPS,
        },
    }


def _show(row: dict[str, Any]) -> None:
    console = Console(width=120)
    table = Table("attack", "turned", *_COLUMNS, title=f"{row['data']}, {row['model']}")
    for name, found in row["attacks"].items():
        table.add_row(name, *(_text(found.get(column)) for column in ("turned", *_COLUMNS)))
    console.print(table)
    for kind in ("clean", "shifts", "knowing"):
        found = ", ".join(f"{name} {_text(value)}" for name, value in row[kind].items())
        console.print(f"{kind}: {found}")


def _text(value: dict[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{value['mean']:.3f} ± {value.get('plus_minus', 0):.3f}"


if __name__ == "__main__":
    main()
