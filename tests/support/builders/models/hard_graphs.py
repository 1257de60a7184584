"""Graphs that are hard on whoever loads or runs them: without end, or with an appetite for memory.

The first two take `x` float32 [n, inputs] and give `logits` [n, classes]. The others are a given
graph with more before it.
"""

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

ROW_BYTES = 16 << 20
"""The memory that `hungry` takes for each row."""


def endless(inputs: int, classes: int) -> bytes:
    """A loop that would go round for some thousand years."""
    body = helper.make_graph(
        [
            helper.make_node("Neg", ["value"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["first"]),
        helper.make_node("Loop", ["turns", "true", "first"], ["logits"], body=body),
    ]
    constants = {
        "w": np.ones((inputs, classes), np.float32),
        "turns": np.array(1 << 60, np.int64),
        "true": np.array(True),
    }
    return _model(nodes, constants, inputs, classes)


def hungry(inputs: int, classes: int) -> bytes:
    """The mean of each row as its every logit, by way of `ROW_BYTES` a row."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "wide"], ["many"]),
        helper.make_node("ReduceMax", ["many"], ["one"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["one"] * classes, ["logits"], axis=1),
    ]
    constants = {"wide": np.ones((1, ROW_BYTES // 4), np.float32)}
    return _model(nodes, constants, inputs, classes)


def _model(nodes: list, constants: dict[str, np.ndarray], inputs: int, classes: int) -> bytes:
    graph: GraphProto = helper.make_graph(
        nodes,
        "hard",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 13)
    model: ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


def behind_loop(graph: bytes) -> bytes:
    """The graph behind a loop without an end, which has rows as they are."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["looped" if name == "x" else name for name in node.input]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["rows"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    loop = helper.make_node("Loop", ["", "always", "x"], ["looped"], body=body)
    nodes = [loop, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def with_laborious_constant(graph: bytes, side: int = 2048, products: int = 2000) -> bytes:
    """The graph, with a constant before it that is a product of so many square matrices: while the
    session is made, they are multiplied, for ten minutes or so.
    """
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"])]
    nodes += [
        helper.make_node("MatMul", [f"m{at}", "m0"], [f"m{at + 1}"]) for at in range(products)
    ]
    return _with_constant(graph, nodes, (side, side))


def with_large_constant(graph: bytes, gibibytes: int) -> bytes:
    """The graph, with a constant before it of so many gibibytes, which its session holds."""
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"])]
    return _with_constant(graph, nodes, (gibibytes << 8, 1 << 20))


def _with_constant(graph: bytes, nodes: list, shape: tuple[int, ...]) -> bytes:
    """The nodes' result for a constant shape is added to the rows, as nothing."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["rows" if name == "x" else name for name in node.input]
    nodes = [
        *nodes,
        helper.make_node("ReduceMax", [nodes[-1].output[0]], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["added"]),
        helper.make_node("Add", ["x", "added"], ["rows"]),
        *model.graph.node,
    ]
    constants = {"shape": np.array(shape, np.int64), "nothing": np.array(0, np.float32)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())
