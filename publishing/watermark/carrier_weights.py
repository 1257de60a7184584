"""Weights that carry a mark: matrices and convolutions of an ONNX graph, float or integer.

ONNX Runtime renames, transposes and reorders weights when it quantizes, so a weight is identified
by its use: it is taken in the layout of the operator that reads it, output channels first.

The weights of the model are those on which its answer, the graph's first output, depends. Weights
that affect only other outputs, such as a response graph's moments of clean rows, carry no mark.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from inference.runtime.graph_rewrites import drop_unread
from publishing.serialization import serialize_model
from publishing.watermark.dequantize import (
    Array,
    Floats,
    dequantize,
    unpack_blocks,
    unpack_nibbles,
)
from publishing.watermark.linear_maps import effective_weights
from sealgate.reasons import Reason, SealgateError

# Smaller tensors are biases, norms and heads that feel a change most.
MIN_ELEMENTS = 1_000
# Input that holds the weight, and whether its two axes are (input, output) rather than the reverse.
_OPERATORS = {
    "Conv": ((1, False),),
    "ConvInteger": ((1, False),),
    "ConvTranspose": ((1, False),),
    "Gather": ((0, False),),
    "Gemm": ((1, True),),
    "MatMul": ((1, True), (0, False)),
    "MatMulInteger": ((1, True),),
    "QLinearConv": ((3, False),),
    "QLinearMatMul": ((3, True),),
}
# Those that read integers: the inputs that hold a scale and a zero point, where they have them.
_INTEGER = {
    "ConvInteger": (None, 3),
    "MatMulInteger": (None, 3),
    "QLinearConv": (4, 5),
    "QLinearMatMul": (4, 5),
}
_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})
_BLOCKS, _TABLE = "MatMulNBits", "GatherBlockQuantized"
_TRANSPARENT = frozenset({"Cast", "Identity", "QuantizeLinear"})
# Of numpy's kind "V", which says nothing.
_SMALL = frozenset(np.dtype(kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.uint4))
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class CarrierWeight:
    """A weight of at least `MIN_ELEMENTS` elements.

    `values` has output channels first; `axes` leads there from the initializer `name`'s own axes.
    `integers` is whether the file holds integers of eight bits.
    """

    name: str
    axes: tuple[int, ...]
    values: Floats
    integers: bool = False


def read_carriers(model: onnx.ModelProto) -> tuple[CarrierWeight, ...]:
    """The graph's weights, dequantized where they are integers, in the order of its nodes.

    A weight that several nodes read is taken as the first of them does.
    Raises: FORMAT_REFUSED where a weight is malformed or not finite.
    """
    return _carriers(model, _behind_the_answer(model.graph))


def read_others(
    model: onnx.ModelProto, known: Sequence[CarrierWeight]
) -> tuple[CarrierWeight, ...]:
    """Other possible weights of a graph that somebody fused, rewrote or gave other outputs: weights
    that the answer does not depend on, float initializers that no known operator reads, as they are
    stored, and matrices that several weights make together. Raises: FORMAT_REFUSED.
    """
    names = {carrier.name for carrier in known}
    behind = {name for node in _behind_the_answer(model.graph) for name in node.output}
    beside = [node for node in model.graph.node if not behind.intersection(node.output)]
    found = [each for each in _carriers(model, beside) if each.name not in names]
    names.update(carrier.name for carrier in found)
    for tensor in model.graph.initializer:
        if tensor.name in names or len(tensor.dims) < 2 or np.prod(tensor.dims) < MIN_ELEMENTS:
            continue
        values = _numbers(tensor)
        if values is not None and values.dtype.kind in "fV":
            axes = tuple(range(values.ndim))
            found.append(CarrierWeight(tensor.name, axes, values.astype(np.float32)))
    for name, values in effective_weights(model.graph, MIN_ELEMENTS):
        found.append(CarrierWeight(name, tuple(range(values.ndim)), values))
    return tuple(found)


def _carriers(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> tuple[CarrierWeight, ...]:
    graph = _Graph(model.graph)
    carriers: dict[str, CarrierWeight] = {}
    for node in _with_bodies(nodes):
        for carrier in graph.weights(node):
            carriers.setdefault(carrier.name, carrier)
    return tuple(carriers.values())


def _with_bodies(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Also those within loops and branches, which read the weights of the graph around them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _with_bodies(body.node)


def _behind_the_answer(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    """The nodes that the first output depends on, in their order."""
    nodes = onnx.GraphProto(node=graph.node, output=graph.output[:1])
    drop_unread(nodes)
    return nodes.node


def write_carriers(
    model: onnx.ModelProto, before: Sequence[CarrierWeight], after: Sequence[Floats]
) -> bytes:
    """The model with the initializer of each carrier in `before` replaced, as bytes.

    Raises: GRAPH_MISMATCH where the model does not hold exactly the weights in `before`.
    """
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in marked.graph.initializer}
    for old, values in zip(before, after, strict=True):
        tensor = tensors.get(old.name)
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            raise SealgateError(Reason.GRAPH_MISMATCH, f"no fp32 initializer {old.name}")
        if not np.array_equal(_array(tensor), _stored(old.values, old.axes)):
            raise SealgateError(Reason.GRAPH_MISMATCH, f"initializer {old.name} differs")
        tensor.CopyFrom(numpy_helper.from_array(_stored(values, old.axes), old.name))
    return serialize_model(marked)


def _stored(values: Floats, axes: tuple[int, ...]) -> Floats:
    return np.ascontiguousarray(values.transpose(np.argsort(axes)))


def _array(tensor: onnx.TensorProto) -> Array:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise SealgateError(Reason.FORMAT_REFUSED, f"initializer {tensor.name}") from error


def _numbers(tensor: onnx.TensorProto) -> Array | None:
    """A tensor's values, if they are numbers. Raises: FORMAT_REFUSED for NaN and infinity."""
    values = _array(tensor)
    if values.dtype.kind not in "fiu" and values.dtype not in _SMALL:
        return None
    if values.dtype.kind in "fV" and not np.isfinite(values.astype(np.float32)).all():
        raise SealgateError(Reason.FORMAT_REFUSED, f"initializer {tensor.name} is not finite")
    return values


class _Graph:
    """An index over one graph: who makes which tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output if name}

    def weights(self, node: onnx.NodeProto) -> Iterator[CarrierWeight]:
        if node.op_type == _BLOCKS:
            yield from self._blocks(node)
            return
        if node.op_type == _TABLE:
            yield from self._table(node)
            return
        for place, transposed in _OPERATORS.get(node.op_type, ()):
            if place >= len(node.input):
                continue
            found = self._trace(node.input[place], _MAX_DEPTH)
            if found is None or found.values.size < MIN_ELEMENTS:
                continue
            if node.op_type in _INTEGER:
                found = self._integers(node, found)
            if node.op_type in _CONVOLUTIONS:
                if found.values.ndim > 2:
                    yield found
            elif found.values.ndim == 2:
                flip = transposed and not (node.op_type == "Gemm" and _flag(node, "transB"))
                yield _transpose(found, (1, 0)) if flip else found

    def _trace(self, name: str, depth: int) -> CarrierWeight | None:
        """The initializer behind a tensor, if nothing but a change of form lies between."""
        tensor = self._initializers.get(name)
        if tensor is not None:
            values = _numbers(tensor)
            if values is None:
                return None
            axes = tuple(range(values.ndim))
            integers = values.dtype in (np.int8, np.uint8)
            return CarrierWeight(name, axes, values.astype(np.float32, copy=False), integers)
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

    def _dequantize(self, node: onnx.NodeProto, found: CarrierWeight) -> CarrierWeight | None:
        source = self._makers.get(node.input[0])
        if source is not None and source.op_type == "QuantizeLinear":
            return found  # a float weight, rounded at run time: its own values say more
        scale, zero = self._constant(node, 1), self._constant(node, 2)
        if scale is None:
            return None
        axis, block = _integer(node, "axis", 1), _integer(node, "block_size", 0)
        values = dequantize(found.values, scale, zero, axis, block)
        return replace(found, values=values)

    def _integers(self, node: onnx.NodeProto, found: CarrierWeight) -> CarrierWeight:
        """The weight that an operator on integers reads, scaled by its own scale or, where the
        product is scaled later, by the one that ONNX Runtime names after the weight.
        """
        place, zero_place = _INTEGER[node.op_type]
        if place is not None:
            scale = self._constant(node, place)
        else:
            named = self._initializers.get(found.name.removesuffix("_quantized") + "_scale")
            scale = _numbers(named) if named is not None else None
        if scale is None:
            scale = np.ones((), np.float32)
        zero = self._constant(node, zero_place)
        axis = 0 if node.op_type in _CONVOLUTIONS else 1
        return replace(found, values=dequantize(found.values, scale, zero, axis))

    def _blocks(self, node: onnx.NodeProto) -> Iterator[CarrierWeight]:
        packed, scales = self._constant(node, 1), self._constant(node, 2)
        rows, columns = _integer(node, "N", 0), _integer(node, "K", 0)
        if packed is None or scales is None or rows * columns < MIN_ELEMENTS:
            return
        if packed.shape[:1] != (rows,):
            raise SealgateError(
                Reason.FORMAT_REFUSED, f"{node.name}: {packed.shape} for {rows} rows"
            )
        bits = _integer(node, "bits", 4)
        levels = packed.astype(np.uint8)
        values = unpack_blocks(levels, scales, self._constant(node, 3), columns, bits)
        yield CarrierWeight(node.input[1], (0, 1), values)

    def _table(self, node: onnx.NodeProto) -> Iterator[CarrierWeight]:
        """The embeddings [n, width] of a quantized look-up. Bytes without zero points have the
        middle of their range for 0.
        """
        table, scales, zero = (self._constant(node, place) for place in (0, 2, 3))
        if table is None or scales is None or table.ndim != 2:
            return
        bits, block = _integer(node, "bits", 4), _integer(node, "block_size", 128)
        if table.dtype == np.uint8:
            if zero is None:
                zero = np.full((), 2 ** (bits - 1), np.uint8)
            elif bits == 4:
                zero = unpack_nibbles(zero.astype(np.uint8))[:, : scales.shape[1]]
            if bits == 4:
                table = unpack_nibbles(table.astype(np.uint8))
        axis = _integer(node, "quantize_axis", 1)
        values = dequantize(table, scales, zero, axis, block)
        if values.size >= MIN_ELEMENTS:
            yield CarrierWeight(node.input[0], (0, 1), values)

    def _constant(self, node: onnx.NodeProto, place: int) -> Array | None:
        if place >= len(node.input):
            return None
        tensor = self._initializers.get(node.input[place])
        return _numbers(tensor) if tensor is not None else None


def _transpose(found: CarrierWeight, order: Sequence[int]) -> CarrierWeight:
    axes = tuple(found.axes[place] for place in order)
    return replace(found, axes=axes, values=found.values.transpose(order))


def _permutation(node: onnx.NodeProto, rank: int) -> Sequence[int]:
    stated = next((item.ints for item in node.attribute if item.name == "perm"), None)
    order = tuple(stated) if stated is not None else tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise SealgateError(Reason.FORMAT_REFUSED, f"{node.name}: no permutation")
    return order


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((item.i for item in node.attribute if item.name == name), default)


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return _integer(node, name, 0) == 1
