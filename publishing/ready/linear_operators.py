"""Writes linear operators of `ai.onnx.ml` in plain ONNX, so that they have gradients and weights.

Converters of scikit-learn emit them. Those that are no such thing, trees above all, stay.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from publishing.differentiate.emitter import Emitter

ML = "ai.onnx.ml"
_NORMS = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}
# Beyond, an exponential is no float32.
_LARGEST = 80.0
Attributes = dict[str, Any]


def _floats(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def _scaler(e: Emitter, x: str, given: Attributes) -> str | None:
    centered = e.op("Sub", x, e.constant(_floats(given.get("offset", [0.0]))))
    return e.op("Mul", centered, e.constant(_floats(given.get("scale", [1.0]))))


def _imputer(e: Emitter, x: str, given: Attributes) -> str | None:
    """Of numbers that are missing: NaN, or another number that says so."""
    if "imputed_value_floats" not in given:
        return None
    filled = e.constant(_floats(given["imputed_value_floats"]))
    missing = float(given.get("replaced_value_float", 0.0))
    there = e.op("IsNaN", x) if math.isnan(missing) else e.op("Equal", x, e.number(missing))
    return e.op("Where", there, filled, x)


def _normalizer(e: Emitter, x: str, given: Attributes) -> str | None:
    kind = _NORMS[given.get("norm", b"MAX").decode()]
    norm = e.op(kind, x, e.integers(1), keepdims=1)
    # A row of zeros stays one, as in scikit-learn.
    none = e.op("Equal", norm, e.number(0.0))
    return e.op("Div", x, e.op("Where", none, e.number(1.0), norm))


def _regressor(e: Emitter, x: str, given: Attributes) -> str | None:
    if given.get("post_transform", b"NONE") != b"NONE":
        return None
    return _product(e, x, given, int(given.get("targets", 1)))


def _classifier(e: Emitter, x: str, given: Attributes) -> str | None:
    """The probabilities."""
    classes = len(given.get("classlabels_ints") or given.get("classlabels_strings") or ())
    scores = _product(e, x, given, classes)
    after = given.get("post_transform", b"NONE")
    if scores is None or after not in (b"NONE", b"SOFTMAX", b"LOGISTIC"):
        return None
    if after == b"SOFTMAX":
        return e.op("Softmax", scores, axis=1)
    if after == b"LOGISTIC" and _opposite(given, classes):
        # Of -z and z the logistic functions are the softmax of their halves.
        return e.op("Softmax", e.op("Mul", scores, e.number(0.5)), axis=1)
    return scores if after == b"NONE" else _logistic(e, scores)


def _logistic(e: Emitter, scores: str) -> str:
    """1 / (1 + exp(-scores)): the runtime's own Sigmoid has no digits left of small probabilities,
    and another error in each place of a batch.
    """
    bounded = e.op("Clip", scores, e.number(-_LARGEST), e.number(_LARGEST))
    other = e.op("Exp", e.op("Neg", bounded))
    return e.op("Reciprocal", e.op("Add", other, e.number(1.0)))


def _opposite(given: Attributes, classes: int) -> bool:
    """Whether there are two classes, whose scores differ in their sign alone."""
    weights = _floats(given["coefficients"]).reshape(classes, -1)
    shift = _floats(given.get("intercepts") or [0.0] * classes)
    return classes == 2 and bool((weights[0] == -weights[1]).all() and shift[0] == -shift[1])


def _product(e: Emitter, x: str, given: Attributes, rows: int) -> str | None:
    weights = _floats(given["coefficients"])
    if not rows or weights.size % rows:
        return None
    weights = weights.reshape(rows, -1)
    shift = _floats(given.get("intercepts") or [0.0] * rows)
    if shift.size != rows:
        return None
    return e.op("Gemm", x, e.constant(weights), e.constant(shift), transB=1)


# By operator: which output it gives, and how.
_WRITTEN: dict[str, tuple[int, Callable[[Emitter, str, Attributes], str | None]]] = {
    "Imputer": (0, _imputer),
    "LinearClassifier": (1, _classifier),
    "LinearRegressor": (0, _regressor),
    "Normalizer": (0, _normalizer),
    "Scaler": (0, _scaler),
}


def write_plainly(model: onnx.ModelProto) -> None:
    """Replace, in place, the linear operators whose one read output can be written in plain ONNX.
    A classifier's labels are left out where nothing reads them.
    """
    graph = model.graph
    e = Emitter("plain")
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        written = _written(e, node, read)
        kept += e.nodes if written else [node]
        e.nodes.clear()
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(e.initializers)


def _written(e: Emitter, node: onnx.NodeProto, read: set[str]) -> bool:
    if node.domain != ML or node.op_type not in _WRITTEN:
        return False
    place, write = _WRITTEN[node.op_type]
    if read.intersection(name for at, name in enumerate(node.output) if at != place):
        return False
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    found = write(e, node.input[0], given)
    if found is None:
        e.nodes.clear()
        return False
    e.nodes.append(helper.make_node("Identity", [found], [node.output[place]]))
    return True
