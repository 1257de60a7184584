"""`make bench-training`: what the workshop's parts reach on real data, with intervals over seeds.

    python -m benchmarks.training [PART…]

Parts that are not named keep the rows of the run before.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.report import RESULTS, write_report
from benchmarks.training import edge, learning, memory, private, rounding, rows
from benchmarks.training.targets import targets
from training.recipe import ENCODER, PERCEPTRON, Student

SEEDS = 3
Row = dict[str, Any]


_SMALL = Student(PERCEPTRON, width=64, layers=2)
_READER = Student(ENCODER, width=32, layers=1)


def _lessons() -> Iterator[learning.Lesson]:
    trees = "boosted trees", learning.boosted
    yield learning.Lesson(rows.credit(), *trees, _SMALL, labels=100, steps=200)
    yield learning.Lesson(rows.digits(), *trees, _SMALL, labels=100, steps=300)
    head = "head on MiniLM", learning.head_on_vectors
    yield learning.Lesson(rows.spam(), *head, _READER, labels=50, steps=100, hidden=0.5)


def _distillation() -> list[Row]:
    return [row for lesson in _lessons() for row in learning.compare(lesson, SEEDS)]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "distillation": _distillation,
    "quantization": lambda: rounding.compare(rows.fashion(6000), SEEDS),
    "memory": lambda: memory.compare(SEEDS),
    "privacy": lambda: private.compare(rows.fashion(3000), SEEDS),
    "edge": lambda: edge.compare(rows.spam(), SEEDS),
}


def main() -> None:
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        found = PARTS[part]()
        for row in found:
            print({key: _short(value) for key, value in row.items()}, flush=True)
        every = [row for row in _before() if row["part"] != part] + found
        write_report("training", every, targets(every))
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
