"""A graph without what its wanted outputs do not need.

onnxruntime computes every node of a graph, whatever is asked of it. A response graph also holds
the cross-entropy's gradient, which an auditor wants and a request does not, so the graph is cut
before it is loaded.
"""

from collections.abc import Collection

import onnx


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
