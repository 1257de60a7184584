"""Graphs of single operators, with numbers to feed them, and their gradients."""

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from inference.runtime.session import Session
from publishing.differentiate.backward import gradient
from publishing.differentiate.graphs import Emitter, MeasuredGraph

X, Y = "x", "y"
GENERATOR = np.random.default_rng(5)


def drawn(*shape: int) -> np.ndarray:
    """Numbers of either sign, none near zero, where some slopes jump."""
    values = GENERATOR.uniform(0.2, 1.2, shape) * np.where(GENERATOR.random(shape) < 0.5, -1, 1)
    return values.astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


def model_of(
    nodes: list[onnx.NodeProto], row: tuple[int, ...], constants: dict[str, Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(X, TensorProto.FLOAT, ["n", *row])],
        [helper.make_tensor_value_info(Y, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def backward_of(model: onnx.ModelProto, rows: np.ndarray) -> Session:
    """The model with the gradient of y times `seed` as a further output."""
    emitter = Emitter("back")
    name = gradient(emitter, MeasuredGraph.of(model, X, rows), Y, "seed")
    graph = model.graph
    graph.node.extend(emitter.nodes)
    graph.initializer.extend(emitter.initializers)
    graph.input.append(helper.make_tensor_value_info("seed", TensorProto.FLOAT, None))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return Session.open(model.SerializeToString(), [Y, name])
