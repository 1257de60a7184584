"""The gradient of a convolution is torch's for every window, and is computed by a convolution."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from inference.runtime.session import Session
from publishing.differentiate.backward import gradient
from publishing.differentiate.graphs import Emitter, MeasuredGraph

GENERATOR = np.random.default_rng(3)
_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


def model_of(sizes: tuple[int, ...], weight: np.ndarray, **window: object) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], **window)],
        "window",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def drawn(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def check(
    sizes: tuple[int, ...], weight: np.ndarray, stride: int, pad: int, dilation: int, groups: int
) -> list[str]:
    """Holds the gradient against torch's; returns the kinds of its nodes."""
    count = len(sizes) - 1
    window = {
        "strides": [stride] * count,
        "pads": [pad] * 2 * count,
        "dilations": [dilation] * count,
        "group": groups,
    }
    model, rows, e = model_of(sizes, weight, **window), drawn(4, *sizes), Emitter("back")
    name = gradient(e, MeasuredGraph.of(model, "x", rows), "y", "seed")
    model.graph.node.extend(e.nodes)
    model.graph.initializer.extend(e.initializers)
    model.graph.input.append(helper.make_tensor_value_info("seed", TensorProto.FLOAT, None))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    x = torch.from_numpy(rows).requires_grad_(True)
    y = _CONVOLUTIONS[count](x, torch.from_numpy(weight), None, stride, pad, dilation, groups)
    seed = drawn(*y.shape)
    y.backward(torch.from_numpy(seed))
    (found,) = Session.open(model.SerializeToString(), [name]).run({"x": rows, "seed": seed})
    assert x.grad is not None
    np.testing.assert_allclose(found, x.grad.numpy(), rtol=1e-4, atol=1e-4)
    return [node.op_type for node in e.nodes]


@pytest.mark.parametrize(("kernel", "stride"), list(product((1, 2, 3, 4, 5, 7), (1, 2, 3))))
def test_the_gradient_is_torchs_whatever_the_size_and_padding(kernel: int, stride: int) -> None:
    for size, pad in product((7, 8, 9, 10), range(min(kernel, 4))):
        kinds = check((4, size), drawn(6, 4, kernel), stride, pad, 1, 1)
        assert "Conv" in kinds
        assert "ConvTranspose" not in kinds


@pytest.mark.parametrize(
    ("sizes", "weight", "stride", "groups"),
    [
        ((4, 8, 9), (6, 2, 3, 3), 2, 2),
        ((4, 9, 9), (4, 1, 3, 3), 2, 4),
        ((4, 9, 9), (8, 1, 3, 3), 1, 4),
        ((2, 6, 5, 7), (4, 1, 2, 3, 3), 2, 2),
    ],
)
def test_axes_and_groups_are_kept_apart(
    sizes: tuple[int, ...], weight: tuple[int, ...], stride: int, groups: int
) -> None:
    assert "Conv" in check(sizes, drawn(*weight), stride, 1, 1, groups)


def test_a_spread_window_is_turned_with_its_gaps() -> None:
    assert "Conv" in check((4, 9, 9), drawn(3, 4, 3, 3), 1, 2, 2, 1)


@pytest.mark.parametrize(
    ("stride", "pad", "dilation"),
    [
        pytest.param(2, 1, 2, id="gaps between strides"),
        pytest.param(1, 3, 1, id="padding that no window shares with the input"),
    ],
)
def test_what_no_convolution_gives_is_left_to_the_transposed_one(
    stride: int, pad: int, dilation: int
) -> None:
    assert "ConvTranspose" in check((4, 9), drawn(3, 4, 3), stride, pad, dilation, 1)
