"""Graph rewrites: removes what nothing reads, and gives a graph further outputs.

onnxruntime computes every node of a graph, whatever output is requested. A response graph also
holds the gradient of the cross-entropy, which auditors need and requests do not, so the graph is
cut before it is loaded.
"""

from collections.abc import Collection, Mapping

import onnx
from onnx import TensorProto, helper


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
