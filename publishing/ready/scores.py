"""Finds the scores of a model that answers with probabilities; rewrites linear operators.

Screening follows differences of scores. A probability near one has no digits left for what it lacks
of one, so its logarithm is the last resort: what enters a softmax or a sigmoid is better.

Linear operators of `ai.onnx.ml`, which converters of scikit-learn emit, are written in plain ONNX,
so that they have gradients and weights. Those that are no such thing, trees above all, stay.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from inference.model.config import ModelConfig
from inference.model.decisions import CLASSES, LEAST_PROBABILITY, Labels, Numbers
from inference.runtime.session import Session
from publishing.differentiate import RESERVED
from publishing.differentiate.graphs import Emitter

Array = npt.NDArray[Any]
_LOOKED_AT = 64
_CLOSE = 1e-3
ML = "ai.onnx.ml"
_NORMS = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}
# Beyond, an exponential is no float32.
_LARGEST = 80.0
Attributes = dict[str, Any]


def are_probabilities(model: onnx.ModelProto, config: ModelConfig, rows: Array) -> bool:
    """Whether the model answers the first of these rows with probabilities."""
    if config.decision.kind != CLASSES:
        return False
    session = Session.open(model.SerializeToString(), [config.output.name])
    (found,) = session.run({config.input.name: rows[:_LOOKED_AT]})
    if found.min() < -_CLOSE or found.max() > 1 + _CLOSE:
        return False
    return bool(np.abs(found.sum(axis=1) - 1).max() < _CLOSE)


def scored(
    serving: onnx.ModelProto, config: ModelConfig, floor: float | None
) -> tuple[onnx.ModelProto, str, str]:
    """A copy whose input is `x`, and which has no other reserved name; its output; and the tensor
    of scores. Those are the output or, where it has probabilities and so a `floor`, what enters the
    softmax or the sigmoid at the end, or the logarithms of what is at least the floor. Of numbers
    and of several labels they are the scores of levels.
    """
    model = onnx.ModelProto()
    model.CopyFrom(serving)
    graph, entered, answered = model.graph, config.input.name, config.output.name
    names = {name: f"model/{name}" for name in RESERVED if name != entered} | {entered: "x"}
    for node in graph.node:
        node.input[:] = [names.get(each, each) for each in node.input]
        node.output[:] = [names.get(each, each) for each in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    output = names.get(answered, answered)
    if isinstance(config.decision, Numbers | Labels):
        return model, output, _level_scores(graph, output, config.decision)
    if floor is None:
        return model, output, output
    tail = _Tail(graph)
    if before := tail.before_softmax(output):
        return model, output, before
    if single := tail.before_sigmoid(output):
        halves = numpy_helper.from_array(np.array([-0.5, 0.5], np.float32), "scores/halves")
        graph.initializer.append(halves)
        graph.node.append(helper.make_node("Mul", [single, "scores/halves"], ["scores/two"]))
        return model, output, "scores/two"
    least = numpy_helper.from_array(np.array(floor, np.float32), "scores/floor")
    graph.initializer.append(least)
    graph.node.append(helper.make_node("Max", [output, "scores/floor"], ["scores/bounded"]))
    graph.node.append(helper.make_node("Log", ["scores/bounded"], ["scores/log"]))
    return model, output, "scores/log"


def _level_scores(graph: onnx.GraphProto, output: str, decision: Numbers | Labels) -> str:
    """The scores [n, K] of the levels, and what enters the sigmoids where labels have any."""
    entered = output
    if isinstance(decision, Labels) and decision.threshold > 0:
        entered = _Tail(graph).before_sigmoids(output) or _log_odds(graph, output)
    weight, shift = (
        numpy_helper.from_array(value.astype(np.float32), f"scores/{name}")
        for value, name in zip(decision.affine(), ("weight", "shift"), strict=True)
    )
    graph.initializer.extend([weight, shift])
    graph.node.append(
        helper.make_node("Gemm", [entered, weight.name, shift.name], ["scores/levels"])
    )
    return "scores/levels"


def _log_odds(graph: onnx.GraphProto, output: str) -> str:
    """log(p) - log(1 - p), of probabilities that are neither 0 nor 1."""
    bounds = [LEAST_PROBABILITY, 1 - LEAST_PROBABILITY, 1.0]
    names = ["scores/least", "scores/most", "scores/one"]
    for name, value in zip(names, bounds, strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    for kind, inputs, made in (
        ("Clip", [output, *names[:2]], "scores/p"),
        ("Sub", [names[2], "scores/p"], "scores/q"),
        ("Log", ["scores/p"], "scores/log_p"),
        ("Log", ["scores/q"], "scores/log_q"),
        ("Sub", ["scores/log_p", "scores/log_q"], "scores/odds"),
    ):
        graph.node.append(helper.make_node(kind, inputs, [made]))
    return "scores/odds"


class _Tail:
    """The end of a graph, from which nodes are looked up by what they make."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {name: node for node in graph.node for name in node.output}

    def before_softmax(self, output: str) -> str | None:
        """The input of the softmax [n, C] that the graph ends in."""
        node = self._behind(output)
        if node is None or node.op_type != "Softmax" or node.domain == ML:
            return None
        return str(node.input[0]) if _axis(node, -1) in (-1, 1) else None

    def before_sigmoids(self, output: str) -> str | None:
        """The input of the sigmoids [n, L] that the graph ends in."""
        node = self._behind(output)
        return None if node is None or node.op_type != "Sigmoid" else str(node.input[0])

    def before_sigmoid(self, output: str) -> str | None:
        """The input [n, 1] of the sigmoid from whose p the graph makes (1 - p, p)."""
        node = self._behind(output)
        if node is None or node.op_type != "Concat" or _axis(node, 0) not in (-1, 1):
            return None
        if len(node.input) != 2:
            return None
        less = self._behind(node.input[0])
        share = self._behind(node.input[1])
        if less is None or less.op_type != "Sub" or share is not self._behind(less.input[1]):
            return None
        if share is None or share.op_type != "Sigmoid":
            return None
        return str(share.input[0])

    def _behind(self, name: str) -> onnx.NodeProto | None:
        """The node that made a tensor, past nodes that change nothing, such as a division of
        probabilities by their sum.
        """
        node = self._makers.get(name)
        if node is not None and (node.op_type == "Identity" or self._divides_by_one(node)):
            return self._behind(node.input[0])
        return node

    def _divides_by_one(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Div":
            return False
        total = self._makers.get(node.input[1])
        if total is not None and total.op_type == "Where":
            # One in place of a total of zero.
            total = self._makers.get(total.input[2])
        if total is None or total.op_type not in ("ReduceL1", "ReduceSum"):
            return False
        made = self._behind(node.input[0])
        ends = ("Softmax", "Concat")
        return bool(total.input[0] == node.input[0] and made is not None and made.op_type in ends)


def _axis(node: onnx.NodeProto, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), default)


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
