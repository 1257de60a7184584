"""Graphs of float64 and float16 become float32, and get a response graph."""

import io
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from inference.runtime import response_contract
from inference.runtime.session import Session
from inference.screening.gradient_attacks import feeds
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.normal_form import NormalModel, normal_model
from publishing.ready.preparation import respond
from publishing.serialization import pack_tensors, serialize_model
from publishing.source.dataset import Dataset, DataSlice
from sealgate.reasons import Reason, SealgateError

GENERATOR = np.random.default_rng(8)
X = GENERATOR.uniform(1, 9, (400, 5))
ROWS = X.astype(np.float32)
Y = (X.sum(axis=1) // 5 % 3).astype(np.int64)
WIDE = {TensorProto.DOUBLE, TensorProto.FLOAT16}
TYPES = {TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16}


def answers(found: NormalModel, rows: np.ndarray = ROWS) -> np.ndarray:
    return Session.open(serialize_model(found.model), [found.output]).run({found.input: rows})[0]


def response_of(found: NormalModel) -> bytes:
    part = DataSlice(ROWS, Y % found.width)
    form = NormalForm(found.input, found.output, found.width)
    dataset = Dataset(part, part, part, "", 1)
    config = ModelDescription("m").config(form, dataset, answers(found))
    texts = {"serving": serialize_model(found.model), "config": config.encode()}
    sent: list[bytes] = []
    respond(pack_tensors(texts, {"x": part.x, "y": part.y}), sent.append)
    return sent[0]


def check_response(found: NormalModel) -> None:
    graph = response_of(found)
    response_contract.check_response_graph(graph, (5,), found.width)
    given = feeds(ROWS[:40], 0.03, 0.0, 1.0)
    logits, moved, features = Session.open(graph, response_contract.OUTPUTS).run(given)
    np.testing.assert_allclose(logits, answers(found, ROWS[:40]), rtol=1e-4, atol=1e-5)
    assert (moved != ROWS[:40]).mean() > 0.5
    assert np.isfinite(features).all()


def has_wide(model: onnx.ModelProto) -> bool:
    graph = model.graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    kinds |= {each.i for node in graph.node for each in node.attribute if each.name == "to"}
    return bool(kinds & WIDE)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "parts",
    [
        (StandardScaler(), LogisticRegression()),
        (MinMaxScaler(), LogisticRegression()),
        (Normalizer(), LogisticRegression()),
        (StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0)),
    ],
    ids=["standard", "range", "norm", "network"],
)
def test_a_pipeline_on_rows_of_float64_answers_the_same_and_is_screened(
    parts: tuple[Any, ...], classes: int
) -> None:
    fitted = make_pipeline(*parts).fit(X, Y % classes)
    found = normal_model(skl2onnx.to_onnx(fitted, X[:1]).SerializeToString(), ROWS)
    assert not has_wide(found.model)
    np.testing.assert_allclose(answers(found), fitted.predict_proba(X), atol=1e-5)
    check_response(found)


def test_a_forest_on_rows_of_float64_takes_the_same_branches() -> None:
    fitted = RandomForestClassifier(12, max_depth=5, random_state=0).fit(X, Y)
    found = normal_model(skl2onnx.to_onnx(fitted, X[:1]).SerializeToString(), ROWS)
    np.testing.assert_allclose(answers(found), fitted.predict_proba(ROWS), atol=1e-5)
    check_response(found)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"])
@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_each_float32_takes_the_branch_that_it_took(mode: str, threshold: float) -> None:
    near = np.float32(threshold)
    sides = [np.nextafter(near, np.float32(way)) for way in (-9, 9)]
    rows = np.tile(np.array([[sides[0]], [near], [sides[1]]], np.float32), (1, 5))
    data = one_tree(mode, threshold)
    session = Session.open(data, ["p"])
    (expected,) = session.run({"x": rows.astype(np.float64)})
    np.testing.assert_array_equal(answers(normal_model(data, rows), rows), expected)


def one_tree(mode: str, threshold: float) -> bytes:
    values = numpy_helper.from_array(np.array([threshold, 0, 0]), "t")
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["p"],
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=[mode, "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_values_as_tensor=values,
        target_treeids=[0, 0, 0, 0],
        target_nodeids=[1, 1, 2, 2],
        target_ids=[0, 1, 0, 1],
        target_weights_as_tensor=numpy_helper.from_array(np.array([0.25, 0.75, 0.5, 0.5]), "w"),
        n_targets=2,
    )
    return graph_of([node], TensorProto.DOUBLE, {}, ("p", TensorProto.FLOAT))


def graph_of(
    nodes: list[onnx.NodeProto],
    kind: int,
    constants: dict[str, np.ndarray],
    output: tuple[str, int],
    opset: int = 17,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", kind, [None, 5])],
        [helper.make_tensor_value_info(*output, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def network(middle: str, kind: int) -> bytes:
    dtype, generator = TYPES[kind], np.random.default_rng(1)
    constants = {
        "w": generator.normal(size=(5, 8)) / 5,
        "b": generator.normal(size=8),
        "v": generator.normal(size=(8, 3)),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"]),
        helper.make_node(middle, ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "v"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    written = {name: value.astype(dtype) for name, value in constants.items()}
    return graph_of(nodes, kind, written, ("p", kind))


@pytest.mark.parametrize("kind", sorted(WIDE))
@pytest.mark.parametrize("middle", ["Relu", "Sigmoid", "Tanh"])
def test_a_network_of_other_numbers_answers_the_same_and_is_screened(
    middle: str, kind: int
) -> None:
    data = network(middle, kind)
    (expected,) = Session.open(data, ["p"]).run({"x": ROWS.astype(TYPES[kind])})
    found = normal_model(data, ROWS)
    assert not has_wide(found.model)
    close = 1e-5 if kind == TensorProto.DOUBLE else 1e-2
    np.testing.assert_allclose(answers(found), expected.astype(np.float32), atol=close)
    check_response(found)


@pytest.mark.slow
def test_attention_of_float16_is_read_though_it_cannot_be_optimized() -> None:
    torch.manual_seed(0)
    module = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    whole = torch.nn.Sequential(torch.nn.Unflatten(1, (4, 8)), module, torch.nn.Flatten()).half()
    rows = np.random.default_rng(2).normal(size=(80, 32)).astype(np.float32)
    out = io.BytesIO()
    free = {0: torch.export.Dim("rows")}
    given = (torch.from_numpy(rows[:2]).half(),)
    torch.onnx.export(whole, given, out, input_names=["x"], dynamic_shapes=(free,), dynamo=True)
    found = normal_model(out.getvalue(), rows)
    assert not has_wide(found.model)
    with torch.no_grad():
        expected = whole.float()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(answers(found, rows), expected, atol=1e-3)


def test_what_no_kernel_runs_in_float64_is_refused_with_what_to_do() -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "k"], ["c"]),
        helper.make_node("Flatten", ["c"], ["z"]),
    ]
    constants = {"one": np.array([1]), "k": np.ones((1, 1, 3))}
    with pytest.raises(SealgateError) as refused:
        normal_model(
            graph_of(nodes, TensorProto.DOUBLE, constants, ("z", TensorProto.DOUBLE)), ROWS
        )
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert "or convert to float32" in refused.value.detail


def test_a_mask_of_the_least_float64_stays_a_number() -> None:
    least = np.array([0, np.finfo(np.float64).min, 0])
    weight = np.random.default_rng(1).normal(size=(5, 3)) / 5
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"]),
        helper.make_node("Mul", ["s", "none"], ["m"]),
        helper.make_node("Add", ["m", "mask"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    constants = {"w": weight, "none": np.array([1.0, 0.0, 1.0]), "mask": least}
    found = normal_model(
        graph_of(nodes, TensorProto.DOUBLE, constants, ("p", TensorProto.DOUBLE)), ROWS
    )
    assert (answers(found)[:, 1] == 0).all()
    assert np.isfinite(answers(found)).all()


def test_a_graph_that_answers_differently_in_float32_is_refused_with_what_to_do() -> None:
    # Digits that float32 does not have.
    nodes = [
        helper.make_node("Add", ["x", "large"], ["y"]),
        helper.make_node("Sub", ["y", "large"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["z"]),
    ]
    constants = {"large": np.array(1e9), "w": np.random.default_rng(1).normal(size=(5, 3))}
    with pytest.raises(SealgateError) as refused:
        normal_model(
            graph_of(nodes, TensorProto.DOUBLE, constants, ("z", TensorProto.DOUBLE)), ROWS
        )
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert "of difference" in refused.value.detail
    assert "convert to float32" in refused.value.detail


def test_a_graph_that_does_not_run_in_float32_is_refused_with_what_to_do() -> None:
    places = helper.make_tensor("places", TensorProto.INT64, [2], [0, 7])
    values = helper.make_tensor("values", TensorProto.DOUBLE, [2], [0.5, -0.5])
    sparse = helper.make_sparse_tensor(values, places, [5, 3])
    nodes = [
        helper.make_node("Constant", [], ["w"], sparse_value=sparse),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
    ]
    with pytest.raises(SealgateError) as refused:
        normal_model(graph_of(nodes, TensorProto.DOUBLE, {}, ("z", TensorProto.DOUBLE), 20), ROWS)
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert "does not run in float32" in refused.value.detail
    assert "convert to float32" in refused.value.detail
