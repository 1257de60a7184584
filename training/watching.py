"""Who follows a run: its curves, and whoever is told of progress."""

from collections.abc import Callable

import torch
from torch import nn

from training.curves import Curves, Point
from training.descent import Progress
from training.material import Material
from training.students import accuracy

Tell = Callable[[str, Progress | str], None]
_POINTS, _ACCURACIES, _NEWS = 100, 10, 20


class Watching:
    """Writes a hundred points of each step's loss, and ten of its accuracy on the slice `fit`."""

    def __init__(
        self, number: int, kind: str, curves: Curves, material: Material, tell: Tell
    ) -> None:
        self._number, self._kind = number, kind
        self._curves, self._tell = curves, tell
        x, y = (torch.from_numpy(part) for part in material.slices["fit"])
        self.rows = x, y

    def __call__(self, module: nn.Module) -> Callable[[Progress], None]:
        """What to call after each step of the descent that trains `module`."""
        return lambda progress: self.note(progress, measured(module, self.rows, progress))

    def note(self, progress: Progress, right: float | None) -> None:
        """After a step: where it stands, and the accuracy on `rows` where that was due."""
        if _due(progress, _POINTS):
            point = Point(self._number, self._kind, progress.done, progress.loss, right)
            self._curves.add(point)
        if _due(progress, _NEWS):
            self._tell(self._kind, progress)


def measured(
    module: nn.Module, rows: tuple[torch.Tensor, torch.Tensor], progress: Progress
) -> float | None:
    """The module's accuracy on rows x [n, ...] of classes y [n], after some of the steps."""
    if not _due(progress, _ACCURACIES):
        return None
    # Dropout and the like draw from the generator that training goes on with.
    with torch.random.fork_rng(devices=[]):
        return accuracy(module, *rows)


def _due(progress: Progress, times: int) -> bool:
    """Whether this is one of so many evenly spread steps; the last one is."""
    return progress.done * times // progress.total > (progress.done - 1) * times // progress.total
