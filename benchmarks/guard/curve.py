"""The learning curve over more prompts: the recipe with a part of its labels, and TF-IDF beside.

`python -m benchmarks.guard.curve` follows it, for an hour of one core, and writes
results/guard_curve.json and guard.svg. Each run keeps its folder, `build/guard/curve/SHARE`, so
that a later start goes on from it. Margins are those of the graph in float32, unpublished, and fall
with the number of windows as each run settled. Of a corpus, found is what is above the margin of
one in a hundred of its own clean prompts; of a set of injections alone, of both corpora's.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks import charts
from benchmarks.guard import baselines
from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import CORPORA, FOLDER, RECIPE, Prompts, held_out
from benchmarks.guard.published import Floats, Judge, Margins, Settled, by_windows, found_at
from benchmarks.report import RESULTS, finish, show
from inference.runtime.response_contract import IDS, MASK
from publishing.source.folder import SERVING
from training.recipe.recipe import Recipe
from training.run.finishing import FinishedRun
from training.run.recipe_run import RecipeRun

SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))
OURS, TF_IDF = "this guard", "TF-IDF"
ALONE = ("in the wild", "seven languages", "between 130 clean words", "between two e-mails")
_DRAWN = (*CORPORA, *ALONE[:3])
_RATE = 0.01
_BATCH = 64
_COLORS = (charts.BLUE, charts.LIGHT, charts.ORANGE, charts.GRAY, charts.SAND)


def curve(learnt: Learnt, sets: Sequence[Prompts]) -> list[dict[str, Any]]:
    """A row for each share of the prompts and each classifier: what it finds of each set."""
    found = []
    for share in SHARES:
        labels = _labels(learnt.recipe, share)
        part = learnt.part(labels)
        folder = _folder(share)
        ours = _graph(folder / "model" / SERVING, part)
        judges = {
            TF_IDF: baselines.words(part),
            OURS: Settled(ours, by_windows(FinishedRun.read(folder))),
        }
        for name, settled in judges.items():
            margins = Margins(settled, learnt.windows)
            found.append({"classifier": name, "prompts": labels, **_found(margins, sets)})
    return found


def follow() -> None:
    """Follow the recipe with each share of the labels, the smallest first."""
    recipe, text = Recipe.read(RECIPE), RECIPE.read_text()
    train = f"train = {recipe.data.train}\n"
    for share in SHARES[:-1]:
        out = _folder(share)
        out.parent.mkdir(exist_ok=True)
        path = out.with_suffix(".toml")
        labels = f"{train}labels = {_labels(recipe, share)}\n"
        path.write_text(text.replace("../../build/guard", "..").replace(train, labels))
        RecipeRun(path, out, print).make()


def draw(rows: Sequence[Mapping[str, Any]]) -> None:
    """results/guard.svg: for each classifier, what it finds of each set."""
    with charts.figure(RESULTS / "guard.svg", 2, 10) as axes:
        for axis, name in zip(axes, (OURS, TF_IDF), strict=True):
            some = [row for row in rows if row["classifier"] == name]
            prompts = [row["prompts"] for row in some]
            for color, drawn in zip(_COLORS, _DRAWN, strict=True):
                label = drawn if name == OURS else ""
                charts.line(axis, prompts, [100 * row[drawn] for row in some], color, label)
            charts.name(axis, f"{name}: found at 1% false alarms, %", "prompts trained on")
            axis.set_xscale("log", base=2)
            axis.set_xticks(prompts, [f"{count:,}" for count in prompts])
            axis.set_ylim(0, 100)


def _found(margins: Margins, sets: Sequence[Prompts]) -> dict[str, float]:
    # Long texts take most of the time, and are not drawn.
    shown = [each for each in sets if each.name in (*CORPORA, *ALONE)]
    every = {(each.name, each.clean): margins.of(each.asked) for each in shown}
    rows = {name: found_at(every[name, True], every[name, False], _RATE) for name in CORPORA}
    both = np.concatenate([every[name, True] for name in CORPORA])
    return rows | {name: found_at(both, every[name, False], _RATE) for name in ALONE}


def _labels(recipe: Recipe, share: Fraction) -> int:
    return round(share * recipe.data.train)


def _folder(share: Fraction) -> Path:
    return FOLDER / "made" if share == 1 else FOLDER / "curve" / f"1-{share.denominator}"


def _graph(serving: Path, learnt: Learnt) -> Judge:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(serving, options, providers=["CPUExecutionProvider"])
    sought = learnt.rows_read.names.index(learnt.recipe.alarms.label)

    def judge(texts: Sequence[str]) -> Floats:
        rows = learnt.rows(texts)
        lengths = (rows >= 0).sum(1)
        found = np.zeros(len(rows), np.float32)
        order = np.argsort(lengths, kind="stable")
        for places in np.split(order, range(_BATCH, len(order), _BATCH)):
            ids = rows[places, : max(2, int(lengths[places].max()))]
            given = {IDS: ids.clip(min=0), MASK: (ids >= 0).astype(np.int64)}
            logits = session.run(None, given)[0]
            found[places] = logits[:, sought] - np.delete(logits, sought, 1).max(1)
        return found

    return judge


if __name__ == "__main__":
    follow()
    found = curve(Learnt.read(Recipe.read(RECIPE)), held_out())
    draw(found)
    show(found)
    finish("guard_curve", found, [])
