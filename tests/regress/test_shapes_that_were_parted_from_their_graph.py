"""A graph that gives rows a shape by a constant could not be published.

The quantizer's preparation was given the model in memory, parted it from its constants, and then
did not know the shape: FORMAT_REFUSED.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from publishing.quantize import quantize
from tests.support.demo_models import opened

SIDE, KINDS, CLASSES = 8, 4, 3


def of_pixels() -> bytes:
    """Rows of pixels, as images to a convolution."""
    generator = np.random.default_rng(1)
    head = generator.normal(size=(KINDS * SIDE * SIDE, CLASSES)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(value, name)
        for name, value in (
            ("shape", np.array([-1, 1, SIDE, SIDE], np.int64)),
            ("kernels", generator.normal(size=(KINDS, 1, 3, 3)).astype(np.float32)),
            ("head", head),
        )
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "kernels"], ["kinds"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["kinds"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", SIDE * SIDE), ("logits", CLASSES))
    ]
    graph = helper.make_graph(nodes, "pixels", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_rows_that_become_images_are_quantized() -> None:
    model, x = of_pixels(), np.random.default_rng(2).random((64, SIDE * SIDE), np.float32)
    before, after = (
        opened(graph).run(None, {"x": x})[0].argmax(axis=1)
        for graph in (model, quantize(model, "x", x))
    )
    assert np.mean(before == after) > 0.9
