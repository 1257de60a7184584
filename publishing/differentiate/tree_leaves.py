"""Where a row ends in the trees of an ensemble, as a vector.

Each leaf gets a random direction; a row's vector is the sum of those of its leaves. Two rows lie as
far apart as they share few leaves, up to the error of a random projection (Johnson and
Lindenstrauss). So rows can be compared in the space of leaves by a few dozen numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper

ML = "ai.onnx.ml"
LEAVES = "leaves"
_TREES = {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}
_MOST_NUMBERS = 150_000
_WIDEST, _LEAST = 24, 4
_LEAF = b"LEAF"


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
