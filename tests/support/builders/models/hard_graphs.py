"""Graphs that are hard on whoever runs them: without end, or with an appetite for memory.

Both take `x` float32 [n, inputs] and give `logits` [n, classes].
"""

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

ROW_BYTES = 16 << 20
"""What `hungry` takes for each row."""


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
