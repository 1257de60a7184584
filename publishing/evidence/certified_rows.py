"""Which rows a network provably answers alike, whatever changes within a bound.

Bounds of a row's places become bounds of each tensor, node by node, up to the lead that a class has
over another (interval bound propagation; Gowal et al., arXiv 1810.12715, with their elision of the
last layer). Where every lead of a row's class is above zero, no change within the bound turns the
answer. A step `certify` learns by the same bounds (`training.steps.certification`); these are of an
ONNX graph, and so of the weights that are published.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from inference.model.config import CLASSES, UNBOUNDED, ModelConfig
from inference.runtime.graph_rewrites import keep_outputs
from inference.runtime.session import Session
from publishing.differentiate import MeasuredGraph
from publishing.differentiate.graphs import MeasuredNode
from sealgate.reasons import SealgateError

Floats = npt.NDArray[np.float32]

SIZES = (0.01, 0.05, 0.1, 0.2)
"""Bounds on the change of each place, as shares of the domain."""
# A lead counts from this share of the largest on, which is far more than float32's rounding.
_LEAST = 1e-3
# Of rows whose bounds are in memory at once, and of numbers in what their leads weigh.
_BATCH, _MOST_NUMBERS = 64, 4_000_000
_LINEAR = ("Conv", "Gemm", "MatMul")
# Of one tensor of rows: none of these falls anywhere where what it gets rises.
_RISING = {
    "AveragePool",
    "Clip",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Squeeze",
    "Tanh",
    "Transpose",
    "Unsqueeze",
}


class UnboundedError(Exception):
    """The graph has a node whose bounds are not known."""


def shares_certified(
    serving: bytes, config: ModelConfig, x: Floats, y: npt.NDArray[np.int64]
) -> dict[str, float] | None:
    """By each of `SIZES`, written as a number, of which share of the rows x [n, ...] the answer is
    their class y [n], whatever changes in each place by up to so much of the domain.

    None where nothing is known: of texts, of tables with columns, without a bounded domain, of
    answers other than classes, and of a graph with a node whose bounds are not known.
    """
    low, high = config.domain.min, config.domain.max
    plain = config.tokens is None and not config.columns and not config.relative
    if not plain or config.decision != CLASSES or config.domain == UNBOUNDED:
        return None
    try:
        output = config.output.name
        kept = onnx.load_from_string(keep_outputs(serving, (output,)))
        bounds = RowBounds.of(MeasuredGraph.of(kept, config.input.name, x[:3]), output)
    except (UnboundedError, SealgateError):
        return None
    shares = {}
    for size in SIZES:
        reach = size * (high - low)
        least, most = np.maximum(x - reach, low), np.minimum(x + reach, high)
        proved = bounds.proved(least.astype(np.float32), most.astype(np.float32), y)
        shares[f"{size:g}"] = round(float(proved.mean()), 6)
    return shares


@dataclass(frozen=True, slots=True)
class RowBounds:
    """A graph that maps bounds of rows to bounds of what enters the last layer, whose weights are
    [width, C] and biases [C].
    """

    session: Session
    feeds: tuple[str, str]
    weight: Floats
    bias: Floats

    @classmethod
    def of(cls, graph: MeasuredGraph, output: str) -> "RowBounds":
        """Raises: UnboundedError, or as `Session.open`."""
        entering, weight, bias = _last_layer(graph, output)
        built = _Bounds(graph)
        for node in graph.nodes():
            if built.knows(entering):
                break
            built.add(node)
        names = built.shown(entering)
        session = Session.open(built.model(names), list(names))
        return cls(session, built.of(graph.row_input), weight, bias)

    def proved(self, low: Floats, high: Floats, y: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether all rows between low and high [n, ...] are of class y [n]: [n]."""
        count = max(1, min(_BATCH, _MOST_NUMBERS // self.weight.size))
        parts = [slice(at, at + count) for at in range(0, len(y), count)]
        return np.concatenate([self._proved(low[at], high[at], y[at]) for at in parts])

    def _proved(self, low: Floats, high: Floats, y: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        found = self.session.run(dict(zip(self.feeds, (low, high), strict=True)))
        under, over = (each.reshape(len(y), -1).astype(np.float64) for each in found)
        # [n, C, width]: what a lead weighs each place with.
        weight = self.weight.T[y][:, None] - self.weight.T
        bias = self.bias[y][:, None] - self.bias
        middle, reach = (under + over) / 2, (over - under) / 2
        leads = np.einsum("ncw,nw->nc", weight, middle) + bias
        leads -= np.einsum("ncw,nw->nc", np.abs(weight), reach)
        others = np.arange(leads.shape[1]) != y[:, None]
        least = _LEAST * np.abs(leads).max(axis=1, keepdims=True)
        proved: npt.NDArray[np.bool_] = ((leads > least) | ~others).all(axis=1)
        return proved


def _last_layer(graph: MeasuredGraph, output: str) -> tuple[str, Floats, Floats]:
    """The input of the last layer, and its weights and biases; the output itself where no product
    is last.
    """
    by_output = {name: node for node in graph.nodes() for name in node.outputs}
    node, bias = by_output.get(output), np.zeros((), np.float32)
    if node is not None and node.kind == "Add" and node.inputs[1] in graph.constants:
        inner = by_output.get(node.inputs[0])
        if inner is not None and inner.kind == "MatMul":
            node, bias = inner, node.value(1)
    if node is not None and node.kind in ("Gemm", "MatMul") and _is_plain_product(node, graph):
        weight = node.value(1).T if node.attribute("transB", 0) else node.value(1)
        if node.has(2):
            bias = node.value(2)
        return node.inputs[0], weight, np.broadcast_to(bias, (1, weight.shape[1]))[0]
    width = graph.tensors[output].fixed(1)
    return output, np.eye(width, dtype=np.float32), np.zeros(width, np.float32)


def _is_plain_product(node: MeasuredNode, graph: MeasuredGraph) -> bool:
    read = {*node.inputs[1:]} - {""}
    factors = (node.attribute("alpha", 1.0), node.attribute("beta", 1.0))
    return (
        read <= graph.constants.keys()
        and node.value(1).ndim == 2
        and not node.attribute("transA", 0)
        and factors == (1.0, 1.0)
    )


@dataclass(slots=True)
class _Bounds:
    """The nodes of a graph of bounds, in which each tensor that depends on the rows is two."""

    graph: MeasuredGraph
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    _known: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known[self.graph.row_input] = _pair(self.graph.row_input)

    def knows(self, name: str) -> bool:
        return name in self._known

    def of(self, name: str) -> tuple[str, str]:
        """The names of a tensor's bounds; a constant bounds itself. Raises: UnboundedError."""
        if name in self.graph.constants:
            self._constants[name] = self.graph.constants[name]
            return name, name
        if name not in self._known:
            raise UnboundedError(name)
        return self._known[name]

    def shown(self, name: str) -> tuple[str, str]:
        """The same under other names: what enters a single layer are the rows themselves."""
        low, high = self.of(name)
        return self._op("Identity", low), self._op("Identity", high)

    def add(self, node: MeasuredNode) -> None:
        """Bound what a node makes of rows. Raises: UnboundedError."""
        if not self.graph.moving.intersection(node.inputs):
            return
        rules: dict[str, Callable[[MeasuredNode], tuple[str, str]]] = {
            **dict.fromkeys(_LINEAR, self._linear),
            **dict.fromkeys(_RISING, self._rising),
            "Add": self._sum,
            "Sub": self._difference,
            "Mul": self._scaled,
            "Div": self._scaled,
        }
        if node.name not in rules:
            raise UnboundedError(node.name)
        self._known[node.outputs[0]] = rules[node.name](node)

    def model(self, outputs: tuple[str, str]) -> bytes:
        """The model with these outputs."""
        dims = [None, *(one for one, _ in self.graph.tensors[self.graph.row_input].dims[1:])]
        inputs, shown = (
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in names]
            for names, shape in ((self.of(self.graph.row_input), dims), (outputs, None))
        )
        weights = [numpy_helper.from_array(each, name) for name, each in self._constants.items()]
        made = helper.make_graph(self._nodes, "bounds", inputs, shown, weights)
        given = self.graph.model
        made_model = helper.make_model(
            made, opset_imports=given.opset_import, ir_version=given.ir_version
        )
        return bytes(made_model.SerializeToString())

    def _rising(self, node: MeasuredNode) -> tuple[str, str]:
        if len(self._read(node)) != 1 or len(node.outputs) > 1:
            raise UnboundedError(node.name)
        pairs = [self.of(name) if name else ("", "") for name in node.inputs]
        return self._twice(node, [low for low, _ in pairs], [high for _, high in pairs])

    def _linear(self, node: MeasuredNode) -> tuple[str, str]:
        """A product with constants: of the middle, and of the reach with what they are without
        their signs.
        """
        if self._read(node) != [node.inputs[0]] or node.attribute("alpha", 1.0) <= 0:
            raise UnboundedError(node.name)
        (low, high), half = self.of(node.inputs[0]), self._constant("half", np.float32(0.5))
        name = node.outputs[0]
        middle = self._op("Mul", self._op("Add", low, high), half)
        reach = self._op("Mul", self._op("Sub", high, low), half)
        width = self._constant(f"{name}/abs", np.abs(node.value(1)))
        given = [self.of(each)[0] if each else "" for each in node.inputs[1:]]
        at_middle, wide = self._twice(node, [middle, *given], [reach, width], "/middle", "/reach")
        return self._op("Sub", at_middle, wide), self._op("Add", at_middle, wide)

    def _sum(self, node: MeasuredNode) -> tuple[str, str]:
        (low, high), (least, most) = map(self.of, node.inputs)
        return self._op("Add", low, least), self._op("Add", high, most)

    def _difference(self, node: MeasuredNode) -> tuple[str, str]:
        (low, high), (least, most) = map(self.of, node.inputs)
        return self._op("Sub", low, most), self._op("Sub", high, least)

    def _scaled(self, node: MeasuredNode) -> tuple[str, str]:
        """By constants of either sign."""
        if self._read(node) != [node.inputs[0]]:
            raise UnboundedError(node.name)
        (low, high), factor = self.of(node.inputs[0]), self.of(node.inputs[1])[0]
        ends = self._op(node.kind, low, factor), self._op(node.kind, high, factor)
        return self._op("Min", *ends), self._op("Max", *ends)

    def _read(self, node: MeasuredNode) -> list[str]:
        """The tensors of rows that a node reads."""
        return [name for name in node.inputs if name in self.graph.moving]

    def _twice(
        self, node: MeasuredNode, first: list[str], second: list[str], *ends: str
    ) -> tuple[str, str]:
        """The node itself, on these inputs and on those."""
        names = _pair(node.outputs[0], *ends)
        for name, inputs in zip(names, (first, second), strict=True):
            copy = onnx.NodeProto()
            copy.CopyFrom(node.proto)
            copy.ClearField("name")
            del copy.input[:], copy.output[:]
            copy.input.extend(inputs)
            copy.output.append(name)
            self._nodes.append(copy)
        return names

    def _op(self, kind: str, *inputs: str) -> str:
        name = f"bounds/{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name]))
        return name

    def _constant(self, name: str, value: Any) -> str:
        self._constants[f"bounds/{name}"] = np.asarray(value)
        return f"bounds/{name}"


def _pair(name: str, low: str = "/low", high: str = "/high") -> tuple[str, str]:
    return f"bounds/{name}{low}", f"bounds/{name}{high}"
