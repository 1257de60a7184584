"""Graph rewrites: remove what nothing reads, add outputs, make sums independent of the batch.

onnxruntime computes every node of a graph, whatever output is requested. A response graph also
holds the gradient of the cross-entropy, which auditors need and requests do not, so the graph is
cut before it is loaded.

onnxruntime's CPU provider drops dimensions of size 1 before it chooses how to sum. For a single row
[1, s, w], summed over s, it sees [s, w] and adds in another order than for several rows. If the sum
is rounded to an integer next, as the mean of a text's tokens is before the last layer of an INT8
graph, the result sometimes differs, and so a text's answer would depend on its batch. A product
with ones is how several rows are summed anyway, to the bit, and does not depend on their number.
"""

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SUMS = ("ReduceSum", "ReduceMean")
# Larger constants are examined by their shape only.
_MOST_ELEMENTS = 64
_PLACES = 1
# That of the operators in which there is one that makes ones.
_LEAST_RELEASE = 9


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
    read = needed(graph, {value.name for value in graph.output})
    kept = [node for node in graph.node if read.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def needed(graph: onnx.GraphProto, wanted: Collection[str]) -> set[str]:
    """All tensors from which these are computed, and these."""
    found = set(wanted)
    # Last node first: nodes stand in the order of their dependence.
    for node in reversed(graph.node):
        if found.intersection(node.output):
            found |= _inputs(node)
    return found


def _inputs(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, including in the bodies of its branches and loops."""
    found = set(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                found |= _inputs(inner)
            found.update(value.name for value in body.output)
    return found


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
    """The nodes that replace a sum over axis 1 of [n, s, w]."""
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
