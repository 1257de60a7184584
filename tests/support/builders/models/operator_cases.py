"""Operators of ONNX, each with the same in torch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import helper
from torch.nn import functional

from tests.support.builders.models.operator_graphs import X, Y, drawn, ints, model_of, t


class Case(NamedTuple):
    """An operator with its constants and attributes, and the same in torch; rows have shape `row`
    and lie between `low` and `high`.
    """

    kind: str
    row: tuple[int, ...]
    torch: Callable[..., torch.Tensor]
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = {}  # noqa: RUF012
    low: float = -1.0
    high: float = 1.0
    first: bool = True


W = drawn(5, 4)
BATCHED = drawn(3, 4, 2)
KERNEL, SPREAD_KERNEL = drawn(6, 2, 3, 3), drawn(4, 3, 3, 3)
LINE, DEPTHWISE = drawn(6, 4, 3), drawn(4, 1, 3, 3)
ROW, SCALE = drawn(4), np.abs(drawn(4)) + 0.5
INTS = np.int64
# Between these, no two numbers are so near that a step of finite differences swaps them.
APART = (-8.0, 8.0)


def case_name(case: Case) -> str:
    return f"{case.kind}-{'x'.join(map(str, case.row))}-{'-'.join(case.attributes)}"


UNARY: dict[str, tuple[Callable[..., torch.Tensor], float, float]] = {
    "Abs": (torch.abs, -1, 1),
    "Cos": (torch.cos, -1, 1),
    "Erf": (torch.erf, -1, 1),
    "Exp": (torch.exp, -1, 1),
    "Gelu": (functional.gelu, -3, 3),
    "HardSwish": (functional.hardswish, -5, 5),
    "Identity": (lambda x: x, -1, 1),
    "Log": (torch.log, 0.5, 2),
    "Mish": (functional.mish, -3, 3),
    "Neg": (torch.neg, -1, 1),
    "Reciprocal": (torch.reciprocal, 0.5, 2),
    "Relu": (torch.relu, -1, 1),
    "Selu": (torch.selu, -2, 2),
    "Sigmoid": (torch.sigmoid, -3, 3),
    "Sin": (torch.sin, -1, 1),
    "Softplus": (functional.softplus, -3, 3),
    "Softsign": (functional.softsign, -3, 3),
    "Sqrt": (torch.sqrt, 0.5, 2),
    "Tanh": (torch.tanh, -2, 2),
    "Elu": (functional.elu, -2, 2),
    "LeakyRelu": (functional.leaky_relu, -1, 1),
}
CASES = [
    *(Case(kind, (3, 4), fn, low=low, high=high) for kind, (fn, low, high) in UNARY.items()),
    Case(
        "Gelu",
        (4,),
        lambda x: functional.gelu(x, approximate="tanh"),
        (),
        {"approximate": "tanh"},
        -3,
        3,
    ),
    Case("Elu", (4,), lambda x: functional.elu(x, 0.7), (), {"alpha": 0.7}),
    Case("LeakyRelu", (4,), lambda x: functional.leaky_relu(x, 0.3), (), {"alpha": 0.3}),
    Case("HardSigmoid", (4,), functional.hardsigmoid, (), {"alpha": 1 / 6}, -5, 5),
    Case("Add", (3, 4), lambda x, c: x + c, (ROW,)),
    Case("Sum", (3, 4), lambda x, c: x + c, (ROW,)),
    Case("Sub", (3, 4), lambda c, x: c - x, (ROW,), first=False),
    Case("Sub", (3, 1), lambda x, c: x - c, (ROW,)),
    Case("Mul", (3, 1), lambda x, c: x * c, (ROW,)),
    Case("Div", (3, 4), lambda x, c: x / c, (ROW,)),
    Case("Div", (3, 4), lambda c, x: c / x, (ROW,), {}, 0.5, 2, first=False),
    Case("Pow", (3, 4), lambda x, c: x**c, (np.float32(3),), {}, 0.2, 2),
    Case("Clip", (3, 4), lambda x, a, b: x.clamp(a, b), (np.float32(-0.4), np.float32(0.3))),
    Case("Max", (3, 4), lambda x, c: torch.maximum(x, c), (ROW,)),
    Case("Min", (3, 1), lambda x, c: torch.minimum(x, c), (ROW,)),
    Case("PRelu", (3, 4), lambda x, c: torch.where(x > 0, x, c * x), (ROW,)),
    Case("Dropout", (4,), lambda x: x),
    Case("MatMul", (4,), lambda x, w: x @ w, (W.T.copy(),)),
    Case("MatMul", (3, 6, 4), lambda x, w: x @ w, (BATCHED,)),
    Case("MatMul", (6, 4), lambda x, w: x[:, None] @ w, (BATCHED,), {"lead": 1}),
    Case("MatMul", (4, 6), lambda w, x: w @ x, (W,), first=False),
    Case(
        "Gemm",
        (4,),
        lambda x, w, c: 0.5 * x @ w.T + 2 * c,
        (W, drawn(5)),
        {"transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    Case("Gemm", (5,), lambda x, w: x @ w, (W,)),
    Case(
        "Einsum",
        (3, 4),
        lambda x, w: torch.einsum("nij,kj->nki", x, w),
        (W,),
        {"equation": "nij,kj->nki"},
    ),
    Case("Reshape", (3, 4), lambda x, s: x.reshape(-1, 2, 6), (ints(-1, 2, 6),)),
    Case("Flatten", (3, 4), lambda x: x.flatten(1)),
    Case("Unsqueeze", (4,), lambda x, s: x[:, None], (ints(1),)),
    Case("Squeeze", (1, 4), lambda x, s: x[:, 0], (ints(1),)),
    Case("Expand", (1, 4), lambda x, s: x.expand(-1, 3, 4), (ints(1, 3, 4),)),
    Case("Tile", (2, 4), lambda x, s: x.tile(1, 3, 2), (ints(1, 3, 2),)),
    Case("Transpose", (2, 3, 4), lambda x: x.permute(0, 3, 1, 2), (), {"perm": [0, 3, 1, 2]}),
    Case(
        "Concat",
        (3, 4),
        lambda x, c: torch.cat([x, x.new_tensor(c).expand(len(x), 3, 4)], 1),
        (),
        {"axis": 1, "twice": 1},
    ),
    Case("Slice", (6, 4), lambda x, *_: x[:, 1:4], (ints(1), ints(4), ints(1))),
    Case("Slice", (6, 4), lambda x, *_: x[:, 0:6:2], (ints(0), ints(99), ints(1), ints(2))),
    Case("Slice", (6, 4), lambda x, *_: x.flip(2), (ints(-1), ints(-99), ints(2), ints(-1))),
    Case("Gather", (6, 4), lambda x, i: x[:, 2], (np.int64(2),), {"axis": 1}),
    Case("Gather", (6, 4), lambda x, i: x[:, i], (np.array([[5, 0], [0, 3]]),), {"axis": 1}),
    Case("Gather", (6, 4), lambda x, i: x[:, :, i], (ints(3, 1),), {"axis": -1}),
    Case(
        "Pad",
        (2, 3, 4),
        lambda x, *_: functional.pad(x, (1, 2, 0, 1)),
        (ints(0, 0, 0, 1, 0, 0, 1, 2), np.float32(0)),
    ),
    Case("Softmax", (3, 4), lambda x: x.softmax(1), (), {"axis": 1}),
    Case("LogSoftmax", (3, 4), lambda x: x.log_softmax(-1), (), {"axis": -1}),
    Case(
        "LayerNormalization",
        (3, 4),
        lambda x, w, b: functional.layer_norm(x, (4,), w, b),
        (SCALE, ROW),
    ),
    Case(
        "InstanceNormalization",
        (4, 5, 3),
        lambda x, w, b: functional.instance_norm(x, weight=w, bias=b),
        (SCALE, ROW),
    ),
    Case(
        "BatchNormalization",
        (4, 3, 3),
        lambda x, w, b, m, v: functional.batch_norm(x, m, v, w, b),
        (SCALE, ROW, drawn(4), SCALE),
    ),
    Case("LpNormalization", (3, 4), lambda x: functional.normalize(x, dim=-1), (), {"axis": -1}),
    Case(
        "LpNormalization",
        (3, 4),
        lambda x: functional.normalize(x, p=1, dim=1),
        (),
        {"axis": 1, "p": 1},
    ),
    Case("ReduceSum", (3, 4), lambda x, a: x.sum(1), (ints(1),), {"keepdims": 0}),
    Case("ReduceMean", (3, 4), lambda x, a: x.mean((1, 2), keepdim=True), (ints(1, 2),)),
    Case("ReduceMax", (3, 4), lambda x, a: x.amax(2), (ints(-1),), {"keepdims": 0}),
    Case("ReduceMin", (3, 4), lambda x, a: x.amin(2, keepdim=True), (ints(-1),)),
    Case("ReduceL1", (3, 4), lambda x, a: x.abs().sum(1), (ints(1),), {"keepdims": 0}),
    Case("ReduceL2", (3, 4), lambda x, a: x.square().sum(1).sqrt(), (ints(1),), {"keepdims": 0}),
    Case("ReduceSumSquare", (3, 4), lambda x, a: x.square().sum(1), (ints(1),), {"keepdims": 0}),
    Case("ReduceLogSumExp", (3, 4), lambda x, a: x.logsumexp(1), (ints(1),), {"keepdims": 0}),
    Case(
        "Conv",
        (4, 9),
        lambda x, w: functional.conv1d(x, w, stride=2, padding=1),
        (LINE,),
        {"strides": [2], "pads": [1, 1]},
    ),
    Case(
        "Conv",
        (4, 8, 9),
        lambda x, w, b: functional.conv2d(x, w, b, stride=2, padding=1, groups=2),
        (KERNEL, drawn(6)),
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2},
    ),
    Case(
        "Conv",
        (4, 9, 9),
        lambda x, w: functional.conv2d(x, w, padding=2, dilation=2, groups=4),
        (DEPTHWISE,),
        {"pads": [2, 2, 2, 2], "dilations": [2, 2], "group": 4},
    ),
    Case(
        "Conv",
        (4, 8, 8),
        lambda x, w: functional.conv2d(functional.pad(x, (0, 1, 0, 1)), w, stride=2, groups=4),
        (DEPTHWISE,),
        {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 4},
    ),
    Case(
        "Conv",
        (4, 11, 10),
        lambda x, w: functional.conv2d(x, w, stride=3, groups=4),
        (DEPTHWISE,),
        {"strides": [3, 3], "group": 4},
    ),
    Case(
        "ConvTranspose",
        (4, 5, 5),
        lambda x, w: functional.conv_transpose2d(x, w, stride=2, padding=1),
        (SPREAD_KERNEL,),
        {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    Case(
        "MaxPool",
        (3, 7, 7),
        lambda x: functional.max_pool2d(x, 3, 2, 1),
        (),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        *APART,
    ),
    Case(
        "MaxPool",
        (3, 7, 6),
        lambda x: functional.max_pool2d(x, 3, 2),
        (),
        {"kernel_shape": [3, 3], "strides": [2, 2], "storage_order": 1},
        *APART,
    ),
    Case(
        "MaxPool",
        (3, 8),
        lambda x: functional.max_pool1d(x, 3),
        (),
        {"kernel_shape": [3], "strides": [3]},
        *APART,
    ),
    Case(
        "AveragePool",
        (3, 7, 7),
        lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        (),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    Case(
        "AveragePool",
        (3, 7, 7),
        lambda x: functional.avg_pool2d(x, 2, 2, ceil_mode=True),
        (),
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    ),
    Case("GlobalAveragePool", (3, 4, 5), lambda x: x.mean((2, 3), keepdim=True)),
    Case(
        "Resize",
        (3, 4, 5),
        lambda x, *_: functional.interpolate(x, scale_factor=2),
        (np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)),
        {
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        },
    ),
    Case(
        "Resize",
        (3, 4, 5),
        lambda x, *_: functional.interpolate(x, scale_factor=3, mode="bilinear"),
        (np.zeros(0, np.float32), np.array([1, 1, 3, 3], np.float32)),
        {"mode": "linear"},
    ),
    Case(
        "Resize",
        (3, 4, 5),
        lambda x, *_: functional.interpolate(x, scale_factor=(3, 2), mode="bilinear"),
        (np.zeros(0, np.float32), np.array([2, 3], np.float32)),
        {"mode": "linear", "axes": [3, 2]},
    ),
    Case(
        "Resize",
        (3, 4, 6),
        lambda x, *_: functional.interpolate(x, size=(8, 12), mode="bilinear"),
        (np.zeros(0, np.float32), np.zeros(0, np.float32), ints(8, 20)),
        {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
    ),
]


def built(case: Case) -> onnx.ModelProto:
    attributes = dict(case.attributes)
    names = [f"c{at}" for at in range(len(case.constants))]
    constants = dict(zip(names, case.constants, strict=True))
    nodes, entering = [], X
    if attributes.pop("lead", 0):
        constants["axis"] = ints(1)
        nodes.append(helper.make_node("Unsqueeze", [X, "axis"], ["lifted"]))
        entering = "lifted"
    inputs = [entering, *names] if case.first else [*names, entering]
    if attributes.pop("twice", 0):
        nodes.append(helper.make_node("Sin", [X], ["other"]))
        inputs.append("other")
    if case.kind == "Resize":
        inputs = [X, *names]
    nodes.append(helper.make_node(case.kind, inputs, [Y], **attributes))
    return model_of(nodes, case.row, constants)


def in_torch(case: Case, x: torch.Tensor) -> torch.Tensor:
    if case.attributes.get("twice"):
        return torch.cat([x, torch.sin(x)], 1)
    constants = [t(np.asarray(value)) for value in case.constants]
    return case.torch(x, *constants) if case.first else case.torch(*constants, x)
