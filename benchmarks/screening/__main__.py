"""`make bench NAME=screening`: what screening catches, what it disturbs, and what it does not stop.

Images and tables, each with a plain and a hardened model, and texts, each split anew by five
seeds. A detector is fitted as a version's is. Attacks are made on test rows that the model tells
right, and count where they turned the answer. Thresholds "at 1%" and "at 5%" are set on clean test
rows, to compare with what others report; "flagged" and "suspect" are the detector's own verdicts.
"Unseen" is a detector that was fitted without the family that the attack belongs to. Writes
results/screening.json, screening.svg, and screening-limits.svg, which shows what gets past it.

Models, attacks and figures are kept below build/bench/screening, by data, model, seed and code, so
a run that was stopped goes on. `--only` measures a part; of the others the result keeps its rows,
and names in its notes those that other code measured, and what is left out.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import RESULTS, write_report
from benchmarks.screening import attacks, code, knowing, limits_plot, measures, toolbox
from benchmarks.screening.plot import draw
from benchmarks.screening.sources import DIGITS, SOURCES
from benchmarks.screening.subjects import CACHE, MODELS, PLAIN, subject
from benchmarks.screening.targets import targets_of
from benchmarks.screening.texts import attacks as text_attacks
from benchmarks.screening.texts import measures as text_measures
from benchmarks.screening.texts import subjects as text_subjects
from benchmarks.screening.texts.corpora import CORPORA

SEEDS = 5
_COLUMNS = ("auroc", "tpr_at_1_percent", "tpr_at_5_percent", "flagged", "auroc_unseen")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One row of the result: a data set, a model, what measures them under a seed, and the digest
    of the code that does.
    """

    name: str
    title: str
    model: str
    seeds: int
    code: str
    measured: Callable[[int], Row]


def parts_of(seeds: int) -> Iterator[Part]:
    for source in SOURCES:
        for model in MODELS:

            def measured(seed: int, source: Any = source, model: str = model) -> Row:
                return measures.measure(subject(source, model, seed))

            yield Part(source.name, source.title, model, seeds, code.of_numbers(), measured)
    for corpus in CORPORA:

        def read(seed: int, corpus: Any = corpus) -> Row:
            return text_measures.measure(text_subjects.subject(corpus, seed))

        yield Part(corpus.name, corpus.title, PLAIN, seeds, code.of_texts(), read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", action="append", help="DATA or DATA/MODEL, as digits/plain")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = list(parts_of(arguments.seeds))
    known = {name for part in parts for name in (part.name, f"{part.name}/{part.model}")}
    if unknown := set(arguments.only or ()) - known:
        parser.error(f"not one of {', '.join(sorted(known))}: {', '.join(sorted(unknown))}")
    earlier = {(row["data"], row["model"]): row for row in _earlier()}
    rows, notes = [], []
    for part in parts:
        old = earlier.get((part.title, part.model))
        if not arguments.only or {part.name, f"{part.name}/{part.model}"} & set(arguments.only):
            try:
                rows.append(_joined(part))
                _show(rows[-1])
            except FileNotFoundError as error:
                notes.append(f"not run: {part.title}, {part.model}: {error}")
        elif old is not None:
            rows.append(old)
            if old.get("code") != part.code:
                notes.append(f"measured by earlier code: {part.title}, {part.model}")
        else:
            notes.append(f"not run: {part.title}, {part.model}")
    targets = targets_of(rows)
    for target in targets:
        print(target.line())
    draw(subject(DIGITS, PLAIN, 0), RESULTS / "screening.svg")
    limits_plot.draw(rows, RESULTS / "screening-limits.svg")
    write_report("screening", rows, targets, notes=notes, settings=_settings())


def _earlier() -> list[Row]:
    path = RESULTS / "screening.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _joined(part: Part) -> Row:
    """Each figure's mean and interval over the seeds."""
    measured = list(_measured(part))
    return {
        "data": part.title,
        "model": part.model,
        "seeds": part.seeds,
        "code": part.code,
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


def _measured(part: Part) -> Iterator[Row]:
    for seed in range(part.seeds):
        kept = CACHE / part.name / part.model / str(seed) / f"figures-{part.code}.json"
        if not kept.exists():
            found = part.measured(seed)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found))
            print(f"{part.title}, {part.model}, seed {seed}", flush=True)
        yield json.loads(kept.read_text())


def _settings() -> Row:
    sizes = {
        each.title: {
            "eps": each.eps,
            "of": "the domain" if each.image else "each free column's interquartile range",
            "rows": dict(zip(("train", "fit", "calibration"), each.sizes, strict=True)),
        }
        for each in SOURCES
    }
    return {
        "sizes": sizes | {each.title: {"rows": each.sizes} for each in CORPORA},
        "most_rows_attacked": {each.name: each.rows for each in attacks.ATTACKS},
        "most_texts_attacked": text_attacks.MOST_TEXTS,
        "square_queries": toolbox.QUERIES,
        "carlini_wagner": {"searches": attacks.CW_SEARCHES, "steps": attacks.CW_STEPS},
        "knowing_attacker": {
            "rows": measures.KNOWING_ROWS,
            "restarts": knowing.RESTARTS,
            "steps": knowing.STEPS,
        },
    }


def _show(row: Row) -> None:
    console = Console(width=120)
    table = Table("attack", "turned", *_COLUMNS, title=f"{row['data']}, {row['model']}")
    for name, found in row["attacks"].items():
        table.add_row(name, *(_text(found.get(column)) for column in ("turned", *_COLUMNS)))
    console.print(table)
    for kind in ("clean", "shifts", "knowing", "knows_the_words"):
        found = ", ".join(f"{name} {_text(value)}" for name, value in row.get(kind, {}).items())
        console.print(f"{kind}: {found}")


def _text(value: dict[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{value['mean']:.3f} ± {value.get('plus_minus', 0):.3f}"


if __name__ == "__main__":
    main()
