"""Where a mark lives: the matrices and convolutions of an ONNX graph, fp32 or quantized alike.

ONNX Runtime renames, transposes and reorders weights when it quantizes, so a weight is known by
what it does: it is taken in the layout of the operator that reads it, output channels first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from publishing.graphs import serialize_model
from sealgate.reasons import Reason, Refusal

# Smaller tensors are biases, norms and heads that feel a change most.
MIN_ELEMENTS = 1_000
# Input that holds the weight, and whether its two axes are (input, output) rather than the reverse.
_OPERATORS = {
    "Conv": ((1, False),),
    "ConvTranspose": ((1, False),),
    "Gather": ((0, False),),
    "Gemm": ((1, True),),
    "MatMul": ((1, True), (0, False)),
}
_TRANSPARENT = frozenset({"Identity", "QuantizeLinear"})
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Carrier:
    """A weight of at least `MIN_ELEMENTS` elements.

    `values` has output channels first; `axes` leads there from the initializer `name`'s own axes.
    """

    name: str
    axes: tuple[int, ...]
    values: npt.NDArray[np.float32]


def read_carriers(model: onnx.ModelProto) -> tuple[Carrier, ...]:
    """The graph's weights, dequantized where they are integers, in the order of its nodes.

    A weight that several nodes read is taken as the first of them does.
    Raises: FORMAT_REFUSED where a weight is malformed or not finite.
    """
    graph = _Graph(model.graph)
    carriers: dict[str, Carrier] = {}
    for node in model.graph.node:
        for carrier in graph.weights(node):
            carriers.setdefault(carrier.name, carrier)
    return tuple(carriers.values())


def write_carriers(
    model: onnx.ModelProto, before: Sequence[Carrier], after: Sequence[Carrier]
) -> bytes:
    """The model with each carrier's initializer replaced, as bytes.

    Raises: GRAPH_MISMATCH where the model does not hold exactly the weights in `before`.
    """
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in marked.graph.initializer}
    for old, new in zip(before, after, strict=True):
        tensor = tensors.get(old.name)
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            raise Refusal(Reason.GRAPH_MISMATCH, f"no fp32 initializer {old.name}")
        if not np.array_equal(_array(tensor), _stored(old)):
            raise Refusal(Reason.GRAPH_MISMATCH, f"initializer {old.name} differs")
        tensor.CopyFrom(numpy_helper.from_array(_stored(new), old.name))
    return serialize_model(marked)


def _stored(carrier: Carrier) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(carrier.values.transpose(np.argsort(carrier.axes)))


def _array(tensor: onnx.TensorProto) -> npt.NDArray[np.generic]:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise Refusal(Reason.FORMAT_REFUSED, f"initializer {tensor.name}") from error


class _Graph:
    """An index over one graph: who makes which tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output if name}

    def weights(self, node: onnx.NodeProto) -> Iterator[Carrier]:
        for place, transposed in _OPERATORS.get(node.op_type, ()):
            if place >= len(node.input):
                continue
            found = self._trace(node.input[place], _MAX_DEPTH)
            if found is None or found.values.size < MIN_ELEMENTS:
                continue
            if node.op_type in ("Conv", "ConvTranspose"):
                if found.values.ndim > 2:
                    yield found
            elif found.values.ndim == 2:
                flip = transposed and not (node.op_type == "Gemm" and _flag(node, "transB"))
                yield _transpose(found, (1, 0)) if flip else found

    def _trace(self, name: str, depth: int) -> Carrier | None:
        """The initializer behind a tensor, if nothing but a change of form lies between."""
        tensor = self._initializers.get(name)
        if tensor is not None:
            values = _array(tensor)
            if not np.issubdtype(values.dtype, np.number):
                return None
            if not np.isfinite(values).all():
                raise Refusal(Reason.FORMAT_REFUSED, f"initializer {name} is not finite")
            return Carrier(name, tuple(range(values.ndim)), values.astype(np.float32))
        node = self._makers.get(name)
        if node is None or depth == 0 or not node.input:
            return None
        found = self._trace(node.input[0], depth - 1)
        if found is None or node.op_type in _TRANSPARENT:
            return found
        if node.op_type == "Transpose":
            return _transpose(found, _permutation(node, found.values.ndim))
        if node.op_type == "DequantizeLinear":
            return self._dequantize(node, found)
        return None

    def _dequantize(self, node: onnx.NodeProto, found: Carrier) -> Carrier | None:
        source = self._makers.get(node.input[0])
        if source is not None and source.op_type == "QuantizeLinear":
            return found  # a float weight, rounded at run time: its own values say more
        parameters = [self._initializers.get(name) for name in node.input[1:3]]
        if not parameters or any(tensor is None for tensor in parameters):
            return None
        scale, *zero = [
            _along_axis(node, _array(tensor), found.values)
            for tensor in parameters
            if tensor is not None
        ]
        values = (found.values - zero[0] if zero else found.values) * scale
        return Carrier(found.name, found.axes, values)


def _along_axis(
    node: onnx.NodeProto, parameter: npt.NDArray[np.generic], values: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """A scale or zero point, shaped to meet its axis: one for the tensor or one a channel."""
    flat = parameter.astype(np.float32)
    if flat.size == 1:
        return flat.reshape(())
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    if flat.ndim != 1 or not -values.ndim <= axis < values.ndim or values.shape[axis] != flat.size:
        raise Refusal(Reason.FORMAT_REFUSED, f"{node.name}: scales do not fit their weight")
    shape = [1] * values.ndim
    shape[axis] = flat.size
    return flat.reshape(shape)


def _transpose(found: Carrier, order: Sequence[int]) -> Carrier:
    axes = tuple(found.axes[place] for place in order)
    return Carrier(found.name, axes, found.values.transpose(order))


def _permutation(node: onnx.NodeProto, rank: int) -> Sequence[int]:
    stated = next((item.ints for item in node.attribute if item.name == "perm"), None)
    order = tuple(stated) if stated is not None else tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise Refusal(Reason.FORMAT_REFUSED, f"{node.name}: no permutation")
    return order


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return any(item.name == name and item.i == 1 for item in node.attribute)
