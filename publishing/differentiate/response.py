"""Makes the response graph of a model from its ONNX graph (`inference.runtime.response_contract`).

It holds the model's own nodes and weights, the backward pass, and a second forward for the rows
after small steps. The features are those of `training.export.response`. With `Units`, a step of eps
moves each column by eps of its own range: it is FGSM's step for the model of rows that were scaled
to 0..1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from inference.runtime import response_contract
from inference.runtime.graph_rewrites import drop_unread
from publishing.differentiate.backward import gradient
from publishing.differentiate.graphs import Emitter, MeasuredGraph
from publishing.differentiate.reference import ReferenceLayer
from publishing.serialization import serialize_model

# Steps along the sign of the margin's gradient at which the answer is taken again, in eps: a small
# and a large one to where the margin falls, and a large one to where it grows.
STEPS = (-1.0, -3.0, 3.0)
_FLOOR = -1e30
_TINY = 1e-6
RESERVED = frozenset((*response_contract.INPUTS, *response_contract.OUTPUTS))
_MOVED = "moved/"
FEATURES = 9 + 5 * len(STEPS)
"""How many features follow the margin."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Where each place of a row begins, and its range: both of the row's shape."""

    low: npt.NDArray[np.float32]
    span: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """`output` is what the model answers, and `scores` [n, C] what a softmax would make
    probabilities of; they may be the same tensor. `width` is how many numbers an answer has that
    decides no class.
    """

    output: str
    scores: str
    classes: int
    width: int = 0

    @property
    def answered(self) -> int:
        return self.width or self.classes


@dataclass(frozen=True, slots=True)
class Rows:
    """Names of the rows and of the settings by which they are moved."""

    x: str
    eps: str
    low: str
    high: str
    span: str | None

    @classmethod
    def of(cls, e: Emitter, x: str, units: Units | None) -> "Rows":
        if units is None:
            low, high = response_contract.CLIP_MIN, response_contract.CLIP_MAX
            return cls(x, response_contract.EPS, low, high, None)
        low, span = e.constant(units.low), e.constant(units.span)
        return cls(x, response_contract.EPS, low, e.constant(units.low + units.span), span)

    def step(self, e: Emitter, way: str) -> str:
        """One step of eps along the sign of `way`."""
        sign = e.op("Sign", way)
        return sign if self.span is None else e.op("Mul", sign, self.span)

    def clip(self, e: Emitter, moved: str) -> str:
        return e.op("Min", e.op("Max", moved, self.low), self.high)

    def place(self, e: Emitter, x: str) -> str:
        """Where x lies in its range, from 0 to 1."""
        width = self.span or e.op("Sub", self.high, self.low)
        return e.op("Div", e.op("Sub", x, self.low), width)

    def slope(self, e: Emitter, gradient: str) -> str:
        """The gradient for steps of equal parts of the ranges."""
        return gradient if self.span is None else e.op("Mul", gradient, self.span)


def response_graph(
    graph: MeasuredGraph,
    answer: Answer,
    layers: Mapping[str, ReferenceLayer],
    units: Units | None = None,
) -> bytes:
    """The response graph of a model whose input is `x`, and which has no other name of RESERVED.
    `layers` are the references of clean rows, by the tensor that they describe.

    Raises GRADIENT_MISSING, which names an operator without a gradient.
    """
    e = Emitter("response")
    rows = Rows.of(e, graph.row_input, units)
    margin_way, own = margin_slope(e, answer)
    loss_way = _loss_slope(e, answer, own)
    loss_gradient = gradient(e, graph, answer.scores, loss_way)
    margin_gradient = gradient(e, graph, answer.scores, margin_way)
    step = e.op("Mul", rows.step(e, loss_gradient), rows.eps)
    x_adv = rows.clip(e, e.op("Add", rows.x, step))
    features = margin_features(e, graph, answer, rows, own, margin_gradient)
    features += reference_features(e, rows, layers, own)
    outputs = {
        response_contract.LOGITS: answer.output,
        response_contract.X_ADV: x_adv,
        response_contract.FEATURES: e.op("Concat", *features, axis=1),
    }
    width = FEATURES + sum(layer.width for layer in layers.values())
    return assembled(graph, e, outputs, answer, width)


def reference_features(
    e: Emitter, rows: Rows, layers: Mapping[str, ReferenceLayer], own: str
) -> list[str]:
    """How far the row and its layers lie from the rows of its class, [n, 1] each."""
    found = []
    for name, layer in layers.items():
        scaled = name == rows.x and rows.span is not None
        vector = rows.place(e, name) if scaled else name
        found += layer.features(e, e.op("Flatten", vector), own)
    return found


def margin_slope(e: Emitter, answer: Answer) -> tuple[str, str]:
    """The gradient of the margin by the scores, and what marks the predicted class [n, C]."""
    own = marked(e, e.op("ArgMax", answer.scores, axis=1, keepdims=1), answer.classes)
    others = e.op("Where", own, e.number(_FLOOR), answer.scores)
    next_best = marked(e, e.op("ArgMax", others, axis=1, keepdims=1), answer.classes)
    one, other = (e.op("CastLike", each, answer.scores) for each in (own, next_best))
    return e.op("Sub", one, other), own


def marked(e: Emitter, label: str, classes: int) -> str:
    """A mask [n, C] of the class of `label` [n, 1]."""
    return e.op("Equal", label, e.constant(np.arange(classes, dtype=np.int64)))


def attacked_class(e: Emitter, answer: Answer, own: str) -> str:
    """A mask [n, C] of the class to step away from: the label, or the predicted one."""
    label = e.op("Unsqueeze", response_contract.LABEL, e.integers(1))
    given = marked(e, label, answer.classes)
    predicted = e.op("And", e.op("Less", label, e.integers(0)), own)
    return e.op("Or", predicted, given)


def _loss_slope(e: Emitter, answer: Answer, own: str) -> str:
    """The gradient of the cross-entropy by the scores: see `training.export.response`."""
    attacked = attacked_class(e, answer, own)
    softmax = e.op("Softmax", answer.scores, axis=1)
    others = e.op("Where", attacked, e.number(0.0), softmax)
    return e.op("Where", attacked, e.op("Neg", e.sum(others, 1)), others)


def margin_features(
    e: Emitter, graph: MeasuredGraph, answer: Answer, rows: Rows, own: str, slope: str
) -> list[str]:
    """The features of the margin [n, k] each, in the order of `training.export.response`."""
    row = row_of(graph)
    sizes = e.op("Mul", e.constant(np.array(STEPS, np.float32)), rows.eps)
    shaped = e.op("Reshape", sizes, e.integers(-1, *[1] * (len(row) + 1)))
    moved = rows.clip(e, e.op("Add", rows.x, e.op("Mul", shaped, rows.step(e, slope))))
    flat = e.op("Reshape", moved, e.integers(-1, *row))
    scores = forward_again(e, graph, answer.scores, flat)
    answers = e.op("Reshape", scores, e.integers(len(STEPS), -1, answer.classes))
    steep = e.op("Flatten", rows.slope(e, slope))
    place = rows.place(e, rows.x)
    taken = e.op("Sub", rows.place(e, moved), place)
    if rows.span is None:
        taken = e.op("Sub", moved, rows.x)
    taken = e.op("Reshape", taken, e.integers(len(STEPS), -1, int(np.prod(row))))
    return [
        *slope_features(e, steep, e.op("Flatten", place)),
        *answer_features(e, answer, answers, own, steep, taken, sizes),
    ]


def slope_features(e: Emitter, gradient: str, place: str) -> list[str]:
    """How steep the margin is, and how far the row lies along its gradient, each [n, 1]."""
    tiny = e.number(_TINY)
    total = e.op("Add", e.sum(e.op("Abs", gradient), 1), tiny)
    length = e.op("Add", e.op("Sqrt", e.sum(e.op("Mul", gradient, gradient), 1)), tiny)
    centered = e.op("Sub", place, e.mean(place, 1))
    along = [e.op("Div", e.sum(e.op("Mul", at, gradient), 1), total) for at in (place, centered)]
    signs = e.mean(e.op("Mul", place, e.op("Sign", gradient)), 1)
    return [e.op("Log", total), e.op("Log", length), *along, signs]


def answer_features(
    e: Emitter, answer: Answer, answers: str, own: str, gradient: str, taken: str, sizes: str
) -> list[str]:
    """How sure the answer is, and what each step changes: [n, 4] and [n, 5 S] in one."""
    scores = answer.scores
    stacked = e.op("Concat", e.op("Unsqueeze", scores, e.integers(0)), answers, axis=0)
    leads = margins(e, stacked, own)
    before, after = (_part(e, leads, *bounds) for bounds in ((0, 1), (1, 1 + len(STEPS))))
    log_p = e.op("LogSoftmax", stacked, axis=2)
    likely = e.op("Exp", _part(e, log_p, 0, 1))
    surprise = e.op("Neg", e.sum(e.op("Mul", likely, log_p), 2, keep=False))
    tiny = e.number(_TINY)
    total = e.op("Add", e.sum(e.op("Abs", gradient), 1, keep=False), tiny)
    foretold = e.sum(e.op("Mul", gradient, taken), 2, keep=False)
    moved = e.op("Sub", after, before)
    leader = e.sum(e.op("Where", own, scores, e.number(0.0)), 1, keep=False)
    lead = e.op("Sub", leader, e.mean(scores, 1, keep=False))
    change = e.op("Sub", answers, scores)
    reach = e.op("Mul", total, e.op("Unsqueeze", e.op("Abs", sizes), e.integers(1)))
    found = [
        before,
        e.op("Div", before, total),
        e.op("Unsqueeze", lead, e.integers(0)),
        moved,
        e.op("Sub", foretold, moved),
        e.op("Sqrt", e.sum(e.op("Mul", change, change), 2, keep=False)),
        surprise,
        e.op("Div", foretold, e.op("Add", reach, tiny)),
    ]
    return [e.op("Transpose", e.op("Concat", *found, axis=0), perm=[1, 0])]


def margins(e: Emitter, scores: str, own: str) -> str:
    """The lead [A, B] of the own class over the best other one, of scores [A, B, C]; `own` marks it
    in whatever is broadcast to these.
    """
    leader = e.sum(e.op("Where", own, scores, e.number(0.0)), 2, keep=False)
    others = e.op("Where", own, e.number(_FLOOR), scores)
    return e.op("Sub", leader, e.op("ReduceMax", others, e.integers(2), keepdims=0))


def _part(e: Emitter, name: str, start: int, end: int) -> str:
    return e.op("Slice", name, e.integers(start), e.integers(end), e.integers(0))


def forward_again(
    e: Emitter, graph: MeasuredGraph, wanted: str, rows: str, prefix: str = _MOVED
) -> str:
    """Append another forward, of other rows, whose names begin with `prefix`; returns what it gives
    for `wanted`. Nodes that no row reaches are shared.
    """
    names = {name: f"{prefix}{name}" for name in graph.moving} | {graph.row_input: rows}
    for node in graph.model.graph.node:
        if not graph.moving.intersection(node.output):
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        e.nodes.append(copy)
    return names[wanted]


def assembled(
    graph: MeasuredGraph, e: Emitter, outputs: Mapping[str, str], answer: Answer, width: int
) -> bytes:
    """The model's nodes and those of `e`, with the contract's inputs and these outputs: from the
    contract's name to the tensor. There are `width` features.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    made, row = model.graph, ["n", *row_of(graph)]
    made.name = "response"
    made.node.extend(e.nodes)
    made.initializer.extend(e.initializers)
    made.node.extend(helper.make_node("Identity", [outputs[n]], [n]) for n in outputs)
    sizes = {
        response_contract.X: row,
        response_contract.X_ADV: row,
        response_contract.LABEL: ["n"],
        response_contract.LOGITS: ["n", answer.answered],
        response_contract.FEATURES: ["n", width],
    }
    for values, names in ((made.input, response_contract.INPUTS), (made.output, outputs)):
        del values[:]
        for name in names:
            kind = TensorProto.INT64 if name == response_contract.LABEL else TensorProto.FLOAT
            values.append(helper.make_tensor_value_info(name, kind, sizes.get(name, [])))
    drop_unread(made)
    return serialize_model(model)


def row_of(graph: MeasuredGraph) -> list[int]:
    """The shape of one row."""
    return [size for size, _ in graph.tensors[graph.row_input].dims[1:]]
