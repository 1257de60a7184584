"""`make bench NAME=training`: what training's parts reach on real data, with intervals over seeds.

    python -m benchmarks.training [PART…]

Parts that are not named keep the rows of the run before.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from benchmarks.report import Row, Target, earlier, finish, show
from benchmarks.training import learning, private, rows
from training.recipe.recipe import ENCODER, PERCEPTRON, StudentSection

SEEDS = 3
_SMALL = StudentSection(PERCEPTRON, width=64, layers=2)
_READER = StudentSection(ENCODER, width=32, layers=1)


def _lessons() -> Iterator[learning.Lesson]:
    trees = "boosted trees", learning.boosted
    yield learning.Lesson(rows.credit(), *trees, _SMALL, labels=100, steps=200)
    yield learning.Lesson(rows.digits(), *trees, _SMALL, labels=100, steps=300)
    head = "head on MiniLM", learning.head_on_vectors
    spam = rows.spam()
    yield learning.Lesson(spam, *head, _READER, labels=50, steps=100)
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


PARTS: dict[str, tuple[Callable[[], list[Row]], Callable[[list[Row]], list[Target]]]] = {
    "distillation": (_distillation, learning.targets),
    "privacy": (lambda: private.compare(rows.fashion(3000), SEEDS), private.targets),
}


def main() -> None:
    torch.set_num_threads(1)
    every = [row for row in earlier("training") if row["part"] in PARTS]
    for part in sys.argv[1:] or PARTS:
        found = PARTS[part][0]()
        show(found)
        every = [row for row in every if row["part"] != part] + found
    told: list[Target] = []
    for part, (_, judge) in PARTS.items():
        if mine := [row for row in every if row["part"] == part]:
            told += judge(mine)
    finish("training", every, told)
    if "privacy" in (sys.argv[1:] or PARTS):
        private.draw([row for row in every if row["part"] == "privacy"])


if __name__ == "__main__":
    main()
