"""`make bench NAME=training`: what training's parts reach on real data, with intervals over seeds.

    python -m benchmarks.training [PART…]

Parts that are not named keep the rows of the run before.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.report import RESULTS, write_report
from benchmarks.training import (
    edge,
    learning,
    memory,
    private,
    prose,
    rounding,
    rows,
    searching,
    sharing,
    windows,
)
from benchmarks.training.targets import targets
from training.recipe.recipe import ENCODER, PERCEPTRON, StudentSection
from training.recipe.sections import DISTIL, RecipeStep, SearchSection

SEEDS = 3
Row = dict[str, Any]


_SMALL = StudentSection(PERCEPTRON, width=64, layers=2)
_READER = StudentSection(ENCODER, width=32, layers=1)


def _lessons() -> Iterator[learning.Lesson]:
    trees = "boosted trees", learning.boosted
    yield learning.Lesson(rows.credit(), *trees, _SMALL, labels=100, steps=200)
    yield learning.Lesson(rows.digits(), *trees, _SMALL, labels=100, steps=300)
    head = "head on MiniLM", learning.head_on_vectors
    spam = rows.spam()
    yield learning.Lesson(spam, *head, _READER, labels=50, steps=100, hidden=0.5)
    # With so few labels what hard ones lead to depends on which they are: more seeds.
    near = "labels of neighbours", learning.spread
    for task, teacher, student, steps in (
        (rows.credit(), near, _SMALL, 200),
        (rows.digits(), near, _SMALL, 300),
        (spam, head, _READER, 150),
    ):
        yield learning.Lesson(
            replace(task, name=f"{task.name}, 10 labels"),
            *(*teacher, student),
            labels=10,
            steps=steps,
            seeds=6,
            grid=((1.0, 0.9), (4.0, 0.9)),
        )


def _distillation() -> list[Row]:
    return [row for lesson in _lessons() for row in learning.compare(lesson)]


def _hunts() -> Iterator[searching.Hunt]:
    yield searching.Hunt(
        *(rows.digits(), "boosted trees", learning.boosted, _SMALL),
        RecipeStep(DISTIL, epochs=20, learning_rate=3e-3),
        partial(
            SearchSection,
            trials=12,
            epochs=8,
            layers=(1, 2, 3),
            width=(24, 40, 48, 56, 64, 80, 96, 112),
        ),
    )
    yield searching.Hunt(
        *(rows.spam(), "head on MiniLM", learning.head_on_vectors, _READER),
        RecipeStep(DISTIL, epochs=12, learning_rate=3e-3, weight=0.5),
        partial(
            SearchSection,
            trials=8,
            epochs=3,
            width=(32, 64, 96),
            heads=(2, 4),
            vocabulary=(1000, 2000, 4000, 8000),
        ),
        once=True,
    )


def _search() -> list[Row]:
    return [row for hunt in _hunts() for row in searching.compare(hunt, SEEDS)]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "distillation": _distillation,
    "quantization": lambda: rounding.compare(rows.fashion(6000), SEEDS),
    "memory": lambda: memory.compare(SEEDS),
    "privacy": lambda: private.compare(rows.fashion(3000), SEEDS),
    "edge": lambda: edge.compare(rows.spam(), SEEDS),
    "search": _search,
    "prose": lambda: prose.compare(SEEDS),
    "devices": lambda: sharing.compare(SEEDS),
    "windows": windows.compare,
}


def main() -> None:
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        found = PARTS[part]()
        every = [row for row in _before() if row["part"] != part] + found
        write_report("training", every, targets(every))
        for row in found:
            print({key: _short(value) for key, value in row.items()}, flush=True)
        if part == "privacy":
            private.draw(found, RESULTS / "privacy.svg")
    for target in targets(_before()):
        print(target.line())


def _before() -> list[Row]:
    place = RESULTS / "training.json"
    return json.loads(place.read_text())["rows"] if place.exists() else []


def _short(value: Any) -> Any:
    return f"{value['mean']} ± {value['off']}" if isinstance(value, dict) else value


if __name__ == "__main__":
    main()
