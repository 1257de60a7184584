"""Exports ONNX graphs in which every parameter is one initializer under its own name.

A plain export folds transposed copies of a weight into the graph, under meaningless names, and a
watermark would have to be written to, and searched in, each. Here parameters are traced as inputs,
which cannot be folded, and become initializers at the end.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from inference.runtime.graph_rewrites import drop_unread


def bind(model: onnx.ModelProto, parameters: dict[str, np.ndarray]) -> None:
    """Turn the inputs of these names into initializers with these contents, in place.

    A parameter that the graph does not read is left out.
    """
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.input if value.name not in parameters]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(content), name)
        for name, content in parameters.items()
        if name in read
    )
    _drop_stale_shapes(graph)


def untranspose(model: onnx.ModelProto) -> None:
    """Remove transposes of initializers where the reader can do without, in place.

    A transpose of a transpose is the initializer itself, and Gemm takes its second operand either
    way round. What is left is for the runtime to fold when it loads.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    swapped: dict[str, str] = {}
    for node in graph.node:
        if not _swaps(node):
            _read_directly(node, swapped)
            continue
        source = node.input[0]
        if source in initializers:
            swapped[node.output[0]] = source
        elif source in swapped:
            _rename(graph, node.output[0], swapped[source])
    drop_unread(graph)


def _swaps(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and [list(a.ints) for a in node.attribute] == [[1, 0]]


def _read_directly(node: onnx.NodeProto, swapped: dict[str, str]) -> None:
    if node.op_type != "Gemm" or node.input[1] not in swapped:
        return
    flag = next((a for a in node.attribute if a.name == "transB"), None)
    if flag is None:
        node.attribute.append(onnx.helper.make_attribute("transB", 0))
        flag = node.attribute[-1]
    node.input[1] = swapped[node.input[1]]
    flag.i = 1 - flag.i


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _drop_stale_shapes(graph: onnx.GraphProto) -> None:
    # The quantizer compares these with what it infers and stops where they are out of date.
    del graph.value_info[:]
