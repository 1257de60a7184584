"""An attack on trees: a row walks from leaf to leaf until its answer changes.

After Zhang et al. (arXiv 2010.11598), simplified: each step crosses one split threshold, of those
nearest to the row in each column that a caller may change, and takes the crossing after which the
model is least sure of its answer. When the answer has changed, columns go back to where they were,
one by one, as far as the answer stays changed. Rows are always such as a caller could send.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from inference.model.columns import RowRules

Floats = npt.NDArray[np.float32]
Thresholds = Mapping[int, npt.NDArray[np.float32]]
Sureness = Callable[[Floats], npt.NDArray[np.float64]]
"""How sure the model is of the attacked row's own answer, for rows [n, D]; below 0, it has changed
it.
"""
_NEAREST, _MOST_STEPS = 3, 40
_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")


def thresholds(graph: bytes) -> dict[int, npt.NDArray[np.float32]]:
    """By column, all thresholds of a model's tree ensembles, in order."""
    found: dict[int, set[float]] = {}
    for node in onnx.load_model_from_string(graph).graph.node:
        if node.op_type not in _TREES:
            continue
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        splits = zip(
            given["nodes_featureids"], given["nodes_values"], given["nodes_modes"], strict=True
        )
        for column, value, mode in splits:
            if mode != b"LEAF":
                found.setdefault(int(column), set()).add(float(value))
    return {at: np.array(sorted(values), np.float32) for at, values in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class LeafSearch:
    """The attack on models with these thresholds, of rows under these rules."""

    thresholds: Thresholds
    rules: RowRules

    def attacked(self, row: Floats, sureness: Sureness) -> Floats:
        """The row [D] where its answer has changed, or where the search ended."""
        here = row
        for _ in range(_MOST_STEPS):
            tried = self._crossings(row, here)
            if not len(tried):
                return here
            sure = sureness(tried)
            here = tried[sure.argmin()]
            if sure.min() < 0:
                return self._nearer(row, here, sureness)
        return here

    def _crossings(self, row: Floats, here: Floats) -> Floats:
        """From `here` [D], rows [n, D] beyond the nearest thresholds of each column."""
        found = []
        for column, values in self.thresholds.items():
            if not self.rules.free[column]:
                continue
            # A split sends what is at most its threshold, or less than it, the other way.
            above = values[np.searchsorted(values, here[column], "right") :][:_NEAREST]
            below = values[: np.searchsorted(values, here[column], "left")][-_NEAREST:]
            for value in (*np.nextafter(above, np.inf), *np.nextafter(below, -np.inf)):
                moved = here.copy()
                moved[column] = value
                found.append(moved)
        if not found:
            return np.empty((0, len(row)), np.float32)
        rows = np.stack(found)
        before = np.broadcast_to(row, rows.shape)
        sent = self.rules.beyond(before, rows).astype(np.float32)
        return sent[(sent != here).any(axis=1)]

    def _nearer(self, row: Floats, here: Floats, sureness: Sureness) -> Floats:
        span = np.where(self.rules.span > 0, self.rules.span, 1)
        moved = np.flatnonzero(here != row)
        for column in moved[np.argsort(-np.abs(here - row)[moved] / span[moved])]:
            back = here.copy()
            back[column] = row[column]
            if sureness(back[np.newaxis])[0] < 0:
                here = back
        return here
