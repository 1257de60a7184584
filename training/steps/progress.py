"""Progress of a run: one line per point, appended, so that a kill leaves it intact.

    {"step": 1, "kind": "distil", "done": 40, "loss": 0.21, "accuracy": 0.93 or null}

`accuracy` is measured on the slice `fit`, from which no step learns.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from training.data import RunData, append_line
from training.models.students import accuracy
from training.steps.descent import StepProgress


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """After `done` steps of the recipe's step number `step`."""

    step: int
    kind: str
    done: int
    loss: float
    accuracy: float | None = None


class TrainingCurves:
    """The points of a run, in a file of its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, point: CurvePoint) -> None:
        append_line(self._path, json.dumps(asdict(point)))

    def read(self) -> list[CurvePoint]:
        """The points in order. A point that a killed run told twice counts once, as last told."""
        found: dict[tuple[int, int], CurvePoint] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                point = CurvePoint(**json.loads(line))
            except (ValueError, TypeError):
                # The line that a kill cut short.
                continue
            found[point.step, point.done] = point
        return [found[at] for at in sorted(found)]


Tell = Callable[[str, StepProgress | str], None]
_POINTS, _ACCURACIES, _NEWS = 100, 10, 20


class ProgressRecorder:
    """Writes a hundred points of each step's loss, and ten of its accuracy on the slice `fit`."""

    def __init__(
        self, number: int, kind: str, curves: TrainingCurves, material: RunData, tell: Tell
    ) -> None:
        self._number, self._kind = number, kind
        self._curves, self._tell = curves, tell
        x, y = (torch.from_numpy(part) for part in material.slices["fit"])
        self.rows = x, y

    def __call__(self, module: nn.Module) -> Callable[[StepProgress], None]:
        """The function to call after each step of the descent that trains `module`."""
        return lambda progress: self.note(progress, measured(module, self.rows, progress))

    def note(self, progress: StepProgress, right: float | None) -> None:
        """After a step: where it stands, and the accuracy on `rows` where that was due."""
        if _due(progress, _POINTS):
            point = CurvePoint(self._number, self._kind, progress.done, progress.loss, right)
            self._curves.add(point)
        if _due(progress, _NEWS):
            self._tell(self._kind, progress)


def measured(
    module: nn.Module, rows: tuple[torch.Tensor, torch.Tensor], progress: StepProgress
) -> float | None:
    """The module's accuracy on rows x [n, ...] of classes y [n], after some of the steps."""
    if not _due(progress, _ACCURACIES):
        return None
    # Dropout and the like draw from the generator that training continues with.
    with torch.random.fork_rng(devices=[]):
        return accuracy(module, *rows)


def _due(progress: StepProgress, times: int) -> bool:
    """Whether this is one of so many evenly spread steps; the last one is."""
    return progress.done * times // progress.total > (progress.done - 1) * times // progress.total
