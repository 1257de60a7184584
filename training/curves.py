"""What a run tells of itself on the way: a line for each point, appended, so that a kill leaves it.

    {"step": 1, "kind": "distil", "done": 40, "loss": 0.21, "accuracy": 0.93 or null}

`accuracy` is that on the slice `fit`, which no step learns from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from training.storage import append_line


@dataclass(frozen=True, slots=True)
class Point:
    """After `done` steps of the recipe's step number `step`."""

    step: int
    kind: str
    done: int
    loss: float
    accuracy: float | None = None


class Curves:
    """The points of a run, in a file of its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, point: Point) -> None:
        append_line(self._path, json.dumps(asdict(point)))

    def read(self) -> list[Point]:
        """The points in order. What a killed run told twice counts once, as last told."""
        found: dict[tuple[int, int], Point] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                point = Point(**json.loads(line))
            except (ValueError, TypeError):
                # The line that a kill cut short.
                continue
            found[point.step, point.done] = point
        return [found[at] for at in sorted(found)]
