"""The gradient of each operator is torch's, and that of finite differences."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from inference.runtime.session import Session
from publishing.differentiate.backward import RULES, gradient
from publishing.differentiate.emitter import Emitter
from publishing.differentiate.measured import MeasuredGraph
from sealgate.reasons import Reason, SealgateError

X, Y = "x", "y"
GENERATOR = np.random.default_rng(5)


def drawn(*shape: int) -> np.ndarray:
    """Numbers of either sign, none near zero, where some slopes jump."""
    values = GENERATOR.uniform(0.2, 1.2, shape) * np.where(GENERATOR.random(shape) < 0.5, -1, 1)
    return values.astype(np.float32)


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


def ints(*values: int) -> np.ndarray:
    return np.array(values, INTS)


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


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
# Tested in models of their own below.
ELSEWHERE = {"Cast", "Ceil", "Floor", "Round", "Sign", "Split", "Where"}


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


@pytest.fixture(autouse=True)
def _draws_of_its_own(request: pytest.FixtureRequest) -> None:
    """Each test draws the same numbers, whichever run before it on its worker: finite differences
    that straddle a kink are no gradient.
    """
    GENERATOR.bit_generator.state = np.random.default_rng(
        zlib.crc32(request.node.name.encode())
    ).bit_generator.state


def check(
    model: onnx.ModelProto, rows: np.ndarray, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    session = backward_of(model, rows[:3])
    x = torch.from_numpy(rows).requires_grad_(True)
    answer = function(x)
    seed = GENERATOR.standard_normal(answer.shape).astype(np.float32)
    (answer * t(seed)).sum().backward()
    assert x.grad is not None
    expected = x.grad.numpy()
    y, found = session.run({X: rows, "seed": seed})
    np.testing.assert_allclose(y, answer.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert found.shape == rows.shape
    size = max(float(np.abs(expected).max()), 1e-6)
    assert np.abs(found - expected).max() / size < 1e-4
    # Finite differences along one direction, of the ONNX operator itself.
    way = GENERATOR.standard_normal(rows.shape).astype(np.float32)
    step = np.float32(2e-3)

    def loss(x: np.ndarray) -> float:
        return float((session.run({X: x, "seed": seed})[0].astype(np.float64) * seed).sum())

    measured = (loss(rows + step * way) - loss(rows - step * way)) / (2 * float(step))
    foretold = float((found.astype(np.float64) * way).sum())
    assert measured == pytest.approx(
        foretold, rel=0.02, abs=0.02 * float(np.abs(found).max()) + 1e-4
    )


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_an_operators_gradient_is_torchs_and_that_of_finite_differences(case: Case) -> None:
    rows = np.linspace(case.low, case.high, 5 * int(np.prod(case.row))) * 0.98 + 0.007
    rows = GENERATOR.permutation(rows).astype(np.float32).reshape(5, *case.row)
    check(built(case), rows, lambda x: in_torch(case, x))


def test_every_rule_has_a_case() -> None:
    assert {case.kind for case in CASES} | ELSEWHERE == set(RULES)


def test_the_parts_of_a_split_go_back_to_their_places() -> None:
    nodes = [
        helper.make_node("Split", [X, "sizes"], ["a", "b", "unread"], axis=1),
        helper.make_node("Mul", ["a", "b"], [Y]),
    ]
    model = model_of(nodes, (6, 2), {"sizes": ints(2, 2, 2)})
    check(model, drawn(4, 6, 2), lambda x: x[:, :2] * x[:, 2:4])


@pytest.mark.parametrize("index", [np.array(2), ints(4, 1), np.array([[5, 0], [0, 3]])])
def test_rows_may_lie_behind_an_axis_that_is_gathered_from(index: np.ndarray) -> None:
    """As where torch exports attention: its rows are the second axis, or the third."""
    back = [index.ndim, *range(index.ndim), index.ndim + 1]
    nodes = [
        helper.make_node("Transpose", [X], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Gather", ["turned", "index"], ["found"], axis=0),
        # One that moves nothing is optimized away wrongly by onnxruntime 1.31.
        helper.make_node("Transpose", ["found"], [Y], perm=back)
        if index.ndim
        else helper.make_node("Identity", ["found"], [Y]),
    ]
    model = model_of(nodes, (6, 4), {"index": index})
    check(model, drawn(4, 6, 4), lambda x: x.permute(1, 0, 2)[t(index)].permute(back))


def test_where_and_casts_pass_the_gradient_of_what_was_chosen() -> None:
    nodes = [
        helper.make_node("Greater", [X, "c"], ["chosen"]),
        helper.make_node("Tanh", [X], ["one"]),
        helper.make_node("Where", ["chosen", "one", "c"], ["mixed"]),
        helper.make_node("Cast", ["mixed"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["wide"], [Y], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, (3, 4), {"c": ROW})
    rows = drawn(4, 3, 4) * 2
    # None near the jump, which finite differences would cross.
    rows += np.where(np.abs(rows - ROW) < 0.05, np.float32(0.1), np.float32(0))
    check(model, rows, lambda x: torch.where(x > t(ROW), torch.tanh(x), t(ROW)))


@pytest.mark.parametrize("kind", ["Ceil", "Floor", "Round", "Sign"])
def test_steps_pass_no_gradient(kind: str) -> None:
    nodes = [helper.make_node(kind, [X], ["steps"]), helper.make_node("Add", ["steps", X], [Y])]
    session = backward_of(model_of(nodes, (3,), {}), drawn(3, 3))
    rows = drawn(4, 3)
    np.testing.assert_array_equal(session.run({X: rows, "seed": np.ones_like(rows)})[1], 1)


def refused(
    nodes: list[onnx.NodeProto], row: tuple[int, ...], constants: dict[str, Any]
) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        backward_of(model_of(nodes, row, constants), drawn(3, *row))
    return caught.value


def test_an_operator_without_a_gradient_is_named_with_what_to_do() -> None:
    node = helper.make_node("Celu", [X], [Y], name="layer 3")
    error = refused([node], (4,), {})
    assert error.reason is Reason.GRADIENT_MISSING
    assert "Celu (layer 3)" in error.detail
    assert "--without-gradient" in error.detail


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "detail"),
    [
        ("Pad", (ints(0, 1, 0, 1),), {"mode": "reflect"}, "a padding of mode reflect"),
        ("MatMul", (drawn(4),), {}, "a product with a vector"),
        ("Einsum", (ROW,), {"equation": "n...,...->n..."}, "an ellipsis"),
        ("Max", (ROW, ROW), {}, "more than two inputs"),
        ("ReduceMean", (ints(0),), {}, "ReduceMean (y): axis 0 is that of the rows"),
    ],
)
def test_what_a_rule_does_not_cover_is_said(
    kind: str, constants: tuple[Any, ...], attributes: dict[str, Any], detail: str
) -> None:
    names = [f"c{at}" for at in range(len(constants))]
    node = helper.make_node(kind, [X, *names], [Y], **attributes)
    error = refused([node], (4,), dict(zip(names, constants, strict=True)))
    assert error.reason is Reason.GRADIENT_MISSING
    assert detail in error.detail


def test_a_resize_whose_sizes_are_rounded_is_refused_by_name() -> None:
    policy = {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}
    node = helper.make_node("Resize", [X, "", "", "sizes"], [Y], mode="linear", **policy)
    error = refused([node], (3, 4, 5), {"sizes": ints(6, 20)})
    assert error.reason is Reason.GRADIENT_MISSING
    assert "keep_aspect_ratio_policy not_larger rounds its sizes" in error.detail


def test_the_length_of_a_row_of_zeros_has_a_slope_of_zero() -> None:
    model = model_of([helper.make_node("ReduceL2", [X, "a"], [Y])], (4,), {"a": ints(1)})
    rows = np.zeros((3, 4), np.float32)
    seed = np.ones((3, 1), np.float32)
    np.testing.assert_array_equal(backward_of(model, rows).run({X: rows, "seed": seed})[1], 0)


def test_a_model_of_a_fixed_number_of_rows_is_refused_with_what_to_do() -> None:
    node = helper.make_node("Reshape", [X, "shape"], [Y])
    error = refused([node], (4,), {"shape": ints(1, 4)})
    assert error.reason is Reason.GRAPH_MISMATCH
    assert "export it with a free first dimension" in error.detail


def test_a_result_that_does_not_depend_on_the_rows_is_refused() -> None:
    nodes = [helper.make_node("Sign", [X], [Y])]
    assert refused(nodes, (4,), {}).reason is Reason.GRADIENT_MISSING
