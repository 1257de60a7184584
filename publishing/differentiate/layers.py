"""Finds the layers whose clean rows a response graph describes."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inference.runtime.session import Session
from publishing.differentiate.measured import MeasuredGraph
from publishing.differentiate.reference import MOST_ROWS, WIDEST, ReferenceLayer
from publishing.differentiate.response import Units, row_of

_PRODUCTS = ("Gemm", "MatMul")
# The last layers say most of a class, and each costs a product with its components.
_MOST = 3
_BATCH = 128


def reference_layers(
    graph: MeasuredGraph,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    classes: int,
    units: Units | None = None,
    also: Sequence[str] = (),
) -> dict[str, ReferenceLayer]:
    """The references of the rows themselves and of what enters the last fully connected layers, by
    the tensor's name; rows x [n, ...] are of classes y [n]. With `units`, the rows are described
    as shares of their ranges. `also` are further tensors [n, K] to describe.
    """
    x, y = x[:MOST_ROWS], y[:MOST_ROWS]
    names = [*_entering(graph)[-_MOST:], *also]
    found = {}
    if math.prod(row_of(graph)) <= WIDEST:
        rows = x if units is None else (x - units.low) / units.span
        flat = rows.reshape(len(x), -1)
        found[graph.row_input] = ReferenceLayer.fit(flat, y, classes, points=True)
    if not names:
        return found
    session = Session.open(graph.showing(names), names)
    starts = range(0, len(x), _BATCH)
    parts = [session.run({graph.row_input: x[at : at + _BATCH]}) for at in starts]
    for name, *values in zip(names, *parts, strict=True):
        found[name] = ReferenceLayer.fit(np.concatenate(values), y, classes)
    return found


def _entering(graph: MeasuredGraph) -> list[str]:
    """What enters products with constant weights, one vector a row, in the graph's order."""
    found: dict[str, None] = {}
    for node in graph.nodes():
        if node.kind not in _PRODUCTS or node.inputs[1] in graph.moving:
            continue
        name, dims = node.inputs[0], node.input(0).dims
        rows = graph.tensors[graph.row_input].dims[0]
        alone = len(dims) == 2 and dims[0] == rows and 1 < dims[1][0] <= WIDEST
        if name in graph.active and name != graph.row_input and alone:
            found[name] = None
    return list(found)
