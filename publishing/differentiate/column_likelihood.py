"""How likely each column's value is among the rows of a class: histograms of the fit slice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from publishing.differentiate.emitter import Emitter

_BINS = 12
_FLOOR = -1e30
FEATURES = 3
"""How many features it gives."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnLikelihood:
    """`edges` [D, B - 1] part each column's values into B bins; `logs` [D, B, C] are logarithms of
    their shares among the rows of each class.
    """

    edges: npt.NDArray[np.float32]
    logs: npt.NDArray[np.float32]

    @classmethod
    def fit(
        cls, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], classes: int
    ) -> "ColumnLikelihood":
        """From rows x [n, D] of classes y [n]."""
        edges = np.quantile(x, np.linspace(0, 1, _BINS + 1)[1:-1], axis=0).T.astype(np.float32)
        places = (x[:, :, np.newaxis] >= edges).sum(axis=2)
        counts = np.ones((x.shape[1], _BINS, classes))
        columns = np.arange(x.shape[1])
        for label in range(classes):
            for row in places[y == label]:
                counts[columns, row, label] += 1
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))
        return cls(edges, logs.astype(np.float32))

    def features(self, e: Emitter, x: str, own: str) -> list[str]:
        """How likely the row [n, D] is in the class that `own` [n, C] marks, by how much more than
        in the best other one, and its least likely column there; each [n, 1].
        """
        columns, bins, classes = self.logs.shape
        above = e.op("GreaterOrEqual", e.op("Unsqueeze", x, e.integers(2)), e.constant(self.edges))
        place = e.sum(e.op("Cast", above, to=1), 2, keep=False)
        first = e.constant(np.arange(columns, dtype=np.float32) * bins)
        at = e.op("Cast", e.op("Add", place, first), to=7)
        table = e.constant(self.logs.reshape(columns * bins, classes))
        logs = e.op("Gather", table, at, axis=0)
        total = e.mean(logs, 1, keep=False)
        mine = e.sum(e.op("Where", own, total, e.number(0.0)), 1)
        others = e.op("Where", own, e.number(_FLOOR), total)
        best = e.op("ReduceMax", others, e.integers(1), keepdims=1)
        marked = e.op("Unsqueeze", own, e.integers(1))
        each = e.sum(e.op("Where", marked, logs, e.number(0.0)), 2, keep=False)
        least = e.op("ReduceMin", each, e.integers(1), keepdims=1)
        return [mine, e.op("Sub", mine, best), least]
