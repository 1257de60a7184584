"""Rows whose answers are proved within bounds: by ONNX graphs as by torch, and never too many."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from demo import datasets
from inference.model.config import UNBOUNDED
from inference.runtime.session import Session
from publishing.differentiate import MeasuredGraph
from publishing.evidence.certified_rows import SIZES, RowBounds, shares_certified
from tests.support.builders.models import tables, text_models
from tests.support.builders.models.onnx_models import Perceptron as SmallModel
from tests.support.builders.models.version_files import VersionFiles, clean_rows
from training.export.classifier import export_serving
from training.models.students import Convolution, Perceptron
from training.steps.certification import certified

PART = datasets.digits().slices["test"]
NETWORKS = [
    lambda: Perceptron(64, 24, 3, 10),
    lambda: Convolution((1, 8, 8), 8, 2, 10),
    lambda: Convolution((1, 8, 8), 8, 2, 10, strides=True),
]


def bounds(graph: bytes, x: np.ndarray) -> RowBounds:
    return RowBounds.of(MeasuredGraph.of(onnx.load_from_string(graph), "x", x), "logits")


@pytest.mark.parametrize("make", NETWORKS, ids=["perceptron", "convolution", "strides"])
def test_the_graph_proves_what_the_network_proves(make: Callable[[], torch.nn.Module]) -> None:
    torch.manual_seed(0)
    net = make().eval().requires_grad_(False)
    row = (1, 8, 8) if isinstance(net, Convolution) else (64,)
    x = PART.x[:120].reshape(-1, *row)
    rows = torch.from_numpy(x)
    y = net.answers(rows)[1].argmax(1)
    found = bounds(export_serving(net, row), x)
    shares = []
    for size in (0.0005, 0.002, 0.01, 0.014, 0.016, 0.02, 0.04):
        low, high = (x - size).clip(0, 1), (x + size).clip(0, 1)
        proved = found.proved(low, high, y.numpy())
        # A lead of next to nothing counts in torch alone.
        expected = certified(net, rows, y, size).numpy()
        assert not (proved & ~expected).any()
        assert (proved != expected).mean() < 0.05
        shares.append(proved.mean())
    assert shares == sorted(shares, reverse=True)
    assert any(0 < share < 1 for share in shares)
    assert not found.proved(x, x, (y.numpy() + 1) % 10).any()


def graph(nodes: Sequence[onnx.NodeProto], **constants: np.ndarray) -> bytes:
    """From `x` [n, 4] to `logits` [n, 3]."""
    x, z = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 4), ("logits", 3))
    )
    weights = [numpy_helper.from_array(each, name) for name, each in constants.items()]
    made = helper.make_graph(nodes, "small", [x], [z], weights)
    opset = [helper.make_opsetid("", 20)]
    return bytes(helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString())


DRAW = np.random.default_rng(0)
W = DRAW.normal(size=(4, 3)).astype(np.float32)
SIGNS = np.array([2.0, -1.5, 0.5, -1.0], np.float32)
ROWS = DRAW.random((200, 4)).astype(np.float32)
node = helper.make_node
GRAPHS = {
    "scaled by both signs": [
        node("Sub", ["x", "c"], ["a"]),
        node("Mul", ["a", "signs"], ["b"]),
        node("MatMul", ["b", "w"], ["m"]),
        node("Add", ["m", "bias"], ["logits"]),
    ],
    "a bias of one row": [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "bias_row"], ["logits"]),
    ],
    "from a constant": [
        node("Sub", ["c", "x"], ["a"]),
        node("Gemm", ["a", "w", "bias"], ["logits"]),
    ],
    "two ways together": [
        node("Relu", ["x"], ["a"]),
        node("Div", ["x", "signs"], ["b"]),
        node("Add", ["a", "b"], ["c1"]),
        node("MatMul", ["c1", "w"], ["logits"]),
    ],
    "no product last": [
        node("MatMul", ["x", "w"], ["m"]),
        node("Clip", ["m", "", "most"], ["logits"]),
    ],
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("size", [0.02, 0.1])
def test_no_corner_turns_what_is_proved(name: str, size: float) -> None:
    constants = {"c": SIGNS / 4, "signs": SIGNS, "w": W, "bias": W[0], "most": np.float32(2.0)}
    constants["bias_row"] = W[:1]
    read = {each for made in GRAPHS[name] for each in made.input}
    given = {each: np.asarray(value) for each, value in constants.items() if each in read}
    data = graph(GRAPHS[name], **given)
    session = Session.open(data, ["logits"])
    y = session.run({"x": ROWS})[0].argmax(axis=1)
    low, high = (ROWS - np.float32(size)).clip(0, 1), (ROWS + np.float32(size)).clip(0, 1)
    proved = bounds(data, ROWS).proved(low, high, y)
    assert 0 < proved.sum() < len(ROWS)
    for corner in np.ndindex((2,) * 4):
        moved = np.where(np.array(corner) > 0, high, low)
        assert (session.run({"x": moved})[0].argmax(axis=1) == y)[proved].all()


MODEL = SmallModel.random(seed=3)
X = clean_rows(MODEL, 60)
Y = Session.open(MODEL.serving(), ["logits"]).run({"x": X})[0].argmax(axis=1)


CONFIG = VersionFiles.of(MODEL).config


def test_a_report_says_the_share_for_each_size() -> None:
    shares = shares_certified(MODEL.serving(), CONFIG, X, Y)
    assert shares is not None
    assert list(shares) == [f"{size:g}" for size in SIZES]
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert shares["0.01"] > 0
    wrong = shares_certified(MODEL.serving(), CONFIG, X, (Y + 1) % MODEL.classes)
    assert wrong is not None
    assert set(wrong.values()) == {0.0}


def test_nothing_is_said_where_nothing_is_known() -> None:
    for config in (replace(CONFIG, domain=UNBOUNDED), tables.config(), text_models.config()):
        assert shares_certified(MODEL.serving(), config, X, Y) is None
    softmax = onnx.load_from_string(MODEL.serving())
    (last,) = (made for made in softmax.graph.node if "logits" in made.output)
    last.output[0] = "before"
    softmax.graph.node.append(helper.make_node("Softmax", ["before"], ["logits"]))
    assert shares_certified(softmax.SerializeToString(), CONFIG, X, Y) is None
