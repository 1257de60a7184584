"""Features by which a response graph compares rows: the inputs of layers, and leaves of trees.

Each leaf gets a random direction; a row's vector is the sum of those of its leaves. Two rows lie as
far apart as they share few leaves, up to the error of a random projection (Johnson and
Lindenstrauss). So rows can be compared in the space of leaves by a few dozen numbers.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from inference.runtime.session import Session
from publishing.differentiate.graphs import MeasuredGraph
from publishing.differentiate.reference import MOST_ROWS, WIDEST, ReferenceLayer, ReferenceSize
from publishing.differentiate.response import Units, row_of

_PRODUCTS = ("Gemm", "MatMul")
# The last layers say most of a class, and each costs a product with its components.
_MOST = 3
_BATCH = 128
ML = "ai.onnx.ml"
LEAVES = "leaves"
_TREES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}
_MOST_NUMBERS = 150_000
_WIDEST, _LEAST = 24, 4
_LEAF = b"LEAF"


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
        found[graph.row_input] = ReferenceLayer.fit(
            flat, y, classes, ReferenceSize.of_input(flat.shape[1], classes)
        )
    if not names:
        return found
    session = Session.open(graph.showing(names), names)
    starts = range(0, len(x), _BATCH)
    parts = [session.run({graph.row_input: x[at : at + _BATCH]}) for at in starts]
    for name, *values in zip(names, *parts, strict=True):
        found[name] = ReferenceLayer.fit(np.concatenate(values), y, classes)
    return found


def _entering(graph: MeasuredGraph) -> list[str]:
    """The tensors that constant weights multiply, one vector a row, in the graph's order."""
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


def add_leaves(model: onnx.ModelProto) -> str | None:
    """Append, in place, a tensor [n, K] of this kind; returns its name, None where the model has
    not one tree ensemble.
    """
    nodes = [n for n in model.graph.node if n.domain == ML and n.op_type in _TREES]
    if len(nodes) != 1:
        return None
    given = {each.name: helper.get_attribute_value(each) for each in nodes[0].attribute}
    leaves = [at for at, mode in enumerate(given["nodes_modes"]) if mode == _LEAF]
    width = min(_WIDEST, _MOST_NUMBERS // len(leaves))
    if width < _LEAST:
        return None
    model.graph.node.append(
        helper.make_node(
            "TreeEnsembleRegressor",
            [nodes[0].input[0]],
            [LEAVES],
            domain=ML,
            **dict(_structure(given)),
            **_directions(given, leaves, width),
        )
    )
    return LEAVES


def _structure(given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if name.startswith("nodes_") and not name.endswith("_as_tensor"):
            yield name, value


def _directions(given: dict[str, Any], leaves: list[int], width: int) -> dict[str, Any]:
    trees = len(set(given["nodes_treeids"]))
    signs = np.random.default_rng(0).integers(0, 2, (len(leaves), width)) * 2 - 1
    weights = signs / np.sqrt(width * trees)
    return {
        "n_targets": width,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "target_treeids": [given["nodes_treeids"][at] for at in leaves for _ in range(width)],
        "target_nodeids": [given["nodes_nodeids"][at] for at in leaves for _ in range(width)],
        "target_ids": list(range(width)) * len(leaves),
        "target_weights": weights.ravel().astype(np.float32).tolist(),
    }
