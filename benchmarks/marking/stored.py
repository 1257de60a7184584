"""A network's matrices as a graph that stores them otherwise, and computes the same."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from benchmarks.marking.subjects import Floats
from publishing.watermark.detection import FileWeights, weights_of

WAYS = ("two factors", "a sum", "constants to compute")


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def keep(self, values: npt.ArrayLike) -> str:
        name = f"w{len(self.tensors)}"
        kept = np.ascontiguousarray(values, np.float32)
        self.tensors.append(numpy_helper.from_array(kept, name))
        return name

    def node(self, kind: str, *inputs: str, **settings: int) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **settings))
        return name


def stored(
    layers: list[Floats], way: str, rng: np.random.Generator, *, chained: bool = True
) -> FileWeights:
    """The weights of a file with these matrices, output channels first, stored so; each reads what
    the one before it makes, or an input of its own.
    """
    graph = _Graph()
    inputs: list[str] = []
    made: list[str] = []
    for place, layer in enumerate(layers):
        if made and chained:
            read = graph.node("Relu", made.pop())
        else:
            read = f"x{place}"
            inputs.append(read)
        made.append(_product(graph, read, layer.T, way, rng))
    if len(made) > 1:
        made = [graph.node("Concat", *(graph.node("Relu", each) for each in made), axis=1)]
    ends = [
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", None]) for n in names]
        for names in (inputs, made)
    ]
    whole = helper.make_graph(graph.nodes, "stored", *ends, graph.tensors)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=9)
    return weights_of("found.onnx", model.SerializeToString())


def _product(graph: _Graph, x: str, weights: Floats, way: str, rng: np.random.Generator) -> str:
    if way == "two factors":
        mixed = rng.standard_normal((len(weights), len(weights)))
        half = graph.node("MatMul", x, graph.keep(mixed))
        return graph.node("MatMul", half, graph.keep(np.linalg.solve(mixed, weights)))
    noise = rng.standard_normal(weights.shape) * weights.std()
    if way == "a sum":
        parts = (weights - noise, noise)
        return graph.node("Add", *(graph.node("MatMul", x, graph.keep(part)) for part in parts))
    made = graph.node("Add", graph.keep(weights - noise), graph.keep(noise))
    return graph.node("MatMul", x, made)
