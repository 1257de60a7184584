"""Graph rewrites: removes unused nodes, and makes sums independent of the batch.

onnxruntime computes every node of a graph, whatever output is requested. A response graph also
holds the gradient of the cross-entropy, which auditors need and requests do not, so the graph is
cut before it is loaded.

`steady_sums` makes a row's sum independent of the batch. onnxruntime's CPU provider drops
dimensions of size 1 before it chooses how to sum. For a single row [1, s, w], summed over s, it
sees [s, w] and adds in another order than for several rows. If the sum is rounded to an integer
next, as the mean of a text's tokens is before the last layer of an INT8 graph, the result sometimes
differs, and so a text's answer would depend on its batch. A product with ones is how several rows
are summed anyway, to the bit, and does not depend on their number.

Finds a classifier's last layer, and a text model's embeddings, in an ONNX graph. The search goes
back from the logits through a bias, and through what quantization inserts, to the product of rows
with constant weights.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sealgate.reasons import Reason, SealgateError


def keep_outputs(graph: bytes, wanted: Collection[str]) -> bytes:
    """Return the ONNX model with the wanted outputs alone, and what they need.

    Inputs stay declared, read or not, so the cut graph is fed as the whole one is. `graph` has been
    checked before; an output that it does not have is ignored.
    """
    model = onnx.load_model_from_string(graph)
    kept = [value for value in model.graph.output if value.name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    drop_unread(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def keep_read_inputs(graph: bytes) -> bytes:
    """Return the ONNX model without the inputs that nothing reads."""
    model = onnx.load_model_from_string(graph)
    read = {value.name for value in model.graph.output}
    for node in model.graph.node:
        read |= _inputs(node)
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return bytes(model.SerializeToString(deterministic=True))


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that nothing reads, in place."""
    read = {value.name for value in graph.output}
    kept = []
    # Last node first: nodes stand in the order of their dependence, so whole chains go.
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(_inputs(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _inputs(node: onnx.NodeProto) -> set[str]:
    """What a node reads, the bodies of its branches and loops included."""
    found = set(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                found |= _inputs(inner)
            found.update(value.name for value in body.output)
    return found


_SUMS = ("ReduceSum", "ReduceMean")
# Larger constants are examined by their shape only.
_MOST_ELEMENTS = 64
_PLACES = 1
# That of the operators in which there is one that makes ones.
_LEAST_RELEASE = 9


def steady_sums(model: bytes) -> bytes:
    """Return the ONNX model with each float32 [n, s, w] summed, or averaged, over s alone in that
    way; the very bytes where there is none, or where nothing can be told of it. `model` has been
    checked before.
    """
    found = onnx.load_model_from_string(model)
    graph = found.graph
    if not any(node.op_type in _SUMS for node in graph.node) or _release(found) < _LEAST_RELEASE:
        return model
    try:
        sums = _sums(found)
    except (onnx.shape_inference.InferenceError, ValueError, TypeError):
        # The runtime will report what is wrong with it.
        return model
    if not sums:
        return model
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        is_one = node.op_type in _SUMS and node.output[0] in sums
        graph.node.extend(_product(node) if is_one else [node])
    return bytes(found.SerializeToString(deterministic=True))


def _release(model: onnx.ModelProto) -> int:
    """Of ONNX's own operators."""
    return max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=0)


def _sums(model: onnx.ModelProto) -> set[str]:
    """The results of those sums."""
    constants, rows = _constants(model.graph), _three_axes(model)
    return {
        node.output[0]
        for node in model.graph.node
        if node.op_type in _SUMS
        and node.input[0] in rows
        and _axes(node, constants) in ([_PLACES], [_PLACES - 3])
    }


def _product(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """What takes the place of a sum over the axis 1 of [n, s, w]."""
    x, result = node.input[0], node.output[0]

    def named(part: str) -> str:
        return f"{result}/steady/{part}"

    def constant(part: str, *values: int) -> onnx.NodeProto:
        value = numpy_helper.from_array(np.array(values, np.int64))
        return helper.make_node("Constant", [], [named(part)], value=value)

    one = helper.make_tensor("", TensorProto.FLOAT, [1], [1.0])
    keeps = next((each.i for each in node.attribute if each.name == "keepdims"), 1)
    means = node.op_type == "ReduceMean"
    total = result if keeps and not means else named("total")
    yield helper.make_node("Shape", [x], [named("shape")])
    yield constant("axis", _PLACES)
    yield helper.make_node("Gather", [named("shape"), named("axis")], [named("places")], axis=0)
    yield constant("row", 1)
    yield helper.make_node("Concat", [named("row"), named("places")], [named("side")], axis=0)
    yield helper.make_node("ConstantOfShape", [named("side")], [named("ones")], value=one)
    yield helper.make_node("MatMul", [named("ones"), x], [total])
    if means:
        mean = result if keeps else named("mean")
        yield helper.make_node("Cast", [named("places")], [named("count")], to=TensorProto.FLOAT)
        yield helper.make_node("Div", [total, named("count")], [mean])
        total = mean
    if not keeps:
        yield constant("flat", 0, -1)
        yield helper.make_node("Reshape", [total, named("flat")], [result])


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def _axes(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> list[int]:
    """The axes that a sum is over; none where they are not constant."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            return list(attribute.ints)
    if len(node.input) < 2 or node.input[1] not in constants:
        return []
    axes: list[int] = numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()
    return axes


def _three_axes(model: onnx.ModelProto) -> set[str]:
    """The tensors of float32 that are known to have three axes."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _MOST_ELEMENTS:
            light.graph.initializer.append(tensor)
        else:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
    inferred = onnx.shape_inference.infer_shapes(light)
    return {
        value.name
        for value in (*inferred.graph.input, *inferred.graph.value_info)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
        and len(value.type.tensor_type.shape.dim) == 3
    }


Weight = npt.NDArray[np.float32]
_THROUGH = ("Add", "Identity", "QuantizeLinear", "DequantizeLinear")
_PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True, slots=True, eq=False)
class LastLayer:
    """`entered` is the tensor [n, D] that enters it, by name; `weight` is [C, D]."""

    entered: str
    weight: Weight


def find_last_layer(model: bytes, logits: str) -> LastLayer:
    """The last layer of a checked ONNX model. Raises GRAPH_MISMATCH where it does not end in one,
    or where nothing lies before it.
    """
    graph = onnx.load_model_from_string(model).graph
    return _Walk(graph).from_logits(logits)


def find_embeddings(model: bytes, ids: str) -> str:
    """The tensor [n, s, W] that a constant table gives for the input `ids`, by name. Raises
    GRAPH_MISMATCH where there is none.
    """
    return _Walk(onnx.load_model_from_string(model).graph).from_ids(ids)


def with_outputs(model: bytes, axes: Mapping[str, int]) -> bytes:
    """The model with these float32 tensors, of so many axes, as further outputs."""
    found = onnx.load_model_from_string(model)
    for name, count in axes.items():
        shape = [None] * count
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        found.graph.output.append(value)
    return bytes(found.SerializeToString(deterministic=True))


def with_gradient(model: bytes, moved: str, name: str) -> bytes:
    """The model with a further output `name`: the float32 gradient along whose sign the rows
    `moved` went. The very bytes where it can't be told.
    """
    found = onnx.load_model_from_string(model)
    makers = {output: node for node in found.graph.node for output in node.output}
    waiting, seen = [moved], set[str]()
    while waiting:
        node = makers.get(waiting.pop(0))
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type == "Sign":
            gradient = helper.make_node("Identity", [node.input[0]], [name])
            found.graph.node.append(gradient)
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            found.graph.output.append(value)
            return bytes(found.SerializeToString(deterministic=True))
        waiting += node.input
    return model


class _Walk:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._nodes = graph.node

    def from_ids(self, ids: str) -> str:
        same, found = {ids}, []
        for node in self._nodes:
            if node.op_type in ("Cast", "Identity") and node.input[0] in same:
                same.add(node.output[0])
            if node.op_type == "Gather" and node.input[1] in same:
                found.append(node)
        if len(found) != 1 or not self._is_constant(found[0].input[0]):
            raise SealgateError(Reason.GRAPH_MISMATCH, "the graph has no table of embeddings")
        return self._behind_rounding(found[0].output[0])

    def _behind_rounding(self, name: str) -> str:
        """The numbers that integers of these rows become, if they do. A runtime that is asked for
        what lies before them takes the whole table apart, for each run.
        """
        integers = self._follower(name, "QuantizeLinear") or name
        return self._follower(integers, "DequantizeLinear") or name

    def _follower(self, name: str, kind: str) -> str | None:
        """What a node of that kind makes of the tensor."""
        following = (n for n in self._nodes if n.op_type == kind and n.input[0] == name)
        return next((str(node.output[0]) for node in following), None)

    def from_logits(self, name: str) -> LastLayer:
        node = self._makers.get(name)
        while node is not None and node.op_type in _THROUGH:
            node = self._makers.get(self._moving(node))
        if node is None or node.op_type not in _PRODUCTS or len(node.input) < 2:
            raise _refused("it does not end in a product")
        if self._is_constant(node.input[0]) or not self._is_constant(node.input[1]):
            raise _refused("its last product is not one with constant weights")
        return LastLayer(self._before_rounding(node.input[0]), self._weight(node))

    def _weight(self, node: onnx.NodeProto) -> Weight:
        value = self._value(node.input[1])
        options = {option.name: option for option in node.attribute}
        flipped = "transB" in options and options["transB"].i == 1
        if value.ndim != 2 or ("transA" in options and options["transA"].i == 1):
            raise _refused("its last product is of another form")
        alpha = options["alpha"].f if "alpha" in options else 1.0
        return np.ascontiguousarray(alpha * (value if flipped else value.T), np.float32)

    def _before_rounding(self, name: str) -> str:
        """The float tensor behind a pair that quantizes it, which some node makes."""
        node = self._makers.get(name)
        while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            name = node.input[0]
            node = self._makers.get(name)
        if node is None:
            raise _refused("nothing lies before its last layer")
        return name

    def _moving(self, node: onnx.NodeProto) -> str:
        """The input that depends on the rows; of an Add, one of both."""
        moving = [name for name in node.input if name and not self._is_constant(name)]
        if len(moving) != 1:
            raise _refused("it ends in more than one layer")
        return moving[0]

    def _is_constant(self, name: str) -> bool:
        if name in self._constants:
            return True
        node = self._makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Transpose", "Identity"):
            return False
        return all(self._is_constant(each) for each in node.input if each)

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name in self._constants:
            return np.asarray(numpy_helper.to_array(self._constants[name]))
        node = self._makers[name]
        if node.op_type == "Identity":
            return self._value(node.input[0])
        if node.op_type == "Transpose":
            return self._value(node.input[0]).T
        stored, scale, *zero = (self._value(each) for each in node.input if each)
        axis = next((option.i for option in node.attribute if option.name == "axis"), 1)
        along = [1] * stored.ndim
        if scale.size > 1:
            along[axis] = -1
        shift = zero[0].astype(np.float32).reshape(along) if zero else np.float32(0)
        found: npt.NDArray[Any] = (stored.astype(np.float32) - shift) * scale.reshape(along)
        return found


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.GRAPH_MISMATCH, f"the graph has no last layer: {detail}")
