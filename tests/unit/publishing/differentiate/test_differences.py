"""Models without gradients: slopes by finite differences, leaves of trees, and likely columns."""

import numpy as np
import onnx
import pytest
import skl2onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.session import Session
from inference.screening.gradient_attacks import feeds
from publishing.differentiate import ColumnLikelihood, add_leaves
from publishing.differentiate.graphs import Emitter
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.normal_form import normal_model
from publishing.ready.preparation import respond
from publishing.serialization import pack_tensors, serialize_model
from publishing.source.dataset import Dataset, DataSlice
from sealgate.reasons import Reason, SealgateError

X, Y = load_breast_cancer(return_X_y=True)
X, Y = X[:400].astype(np.float32), Y[:400]
EPS = 0.03


def forest() -> tuple[RandomForestClassifier, bytes]:
    fitted = RandomForestClassifier(12, max_depth=5, random_state=0).fit(X, Y)
    return fitted, skl2onnx.to_onnx(fitted, X[:1]).SerializeToString()


def linear() -> bytes:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    return skl2onnx.to_onnx(fitted, X[:1]).SerializeToString()


def responding(data: bytes, **said: object) -> tuple[ModelConfig, bytes, bool]:
    """The configuration, the response graph, and whether it is one of finite differences."""
    normal = normal_model(data, X)
    part = DataSlice(X, Y)
    form = NormalForm(normal.input, normal.output, normal.width)
    config = ModelDescription("m", **said).config(
        form, Dataset(part, part, part, "", 1), np.zeros((1, normal.width), np.float32)
    )
    texts = {"serving": serialize_model(normal.model), "config": config.encode()}
    sent: list[bytes] = []
    respond(pack_tensors(texts, {"x": X, "y": Y}), sent.append)
    return config, sent[0], sent[1] == b"1"


def run(graph: bytes, x: np.ndarray, eps: float = EPS) -> list[np.ndarray]:
    return Session.open(graph, response_contract.OUTPUTS).run(feeds(x, eps, 0.0, 1.0))


def test_a_forest_is_screened_by_differences_and_meets_the_contract() -> None:
    fitted, data = forest()
    _, graph, differences = responding(data)
    assert differences
    shape = response_contract.check_response_graph(graph, (30,), 2)
    logits, _, features = run(graph, X[:50])
    assert features.shape == (50, shape.features)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(logits, fitted.predict_proba(X[:50]), atol=1e-5)
    alone = np.concatenate([run(graph, row[np.newaxis])[2] for row in X[:5]])
    np.testing.assert_allclose(alone, features[:5], rtol=1e-3, atol=1e-3)


def test_its_step_turns_answers_that_random_steps_of_that_size_do_not() -> None:
    fitted, data = forest()
    config, graph, _ = responding(data)
    own = fitted.predict(X)
    moved = run(graph, X, 0.2)[1]
    assert (moved >= config.table.low.astype(np.float32)).all()
    assert (moved <= config.table.high.astype(np.float32)).all()
    signs = np.random.default_rng(0).choice((-1, 1), X.shape)
    random = np.clip(X + 0.2 * config.table.span * signs, config.table.low, config.table.high)
    turned = np.mean(fitted.predict(moved) != own)
    assert turned > 0.3
    assert turned > 0.15 + np.mean(fitted.predict(random.astype(np.float32)) != own)


def test_the_slopes_of_a_smooth_model_are_its_gradient() -> None:
    by_gradient = responding(linear())
    by_differences = responding(linear(), differences=True)
    assert (by_gradient[2], by_differences[2]) == (False, True)
    one, other = (run(graph, X[:100])[1] - X[:100] for _, graph, _ in (by_gradient, by_differences))
    # Of more columns than are looked at, those that matter least stay.
    stepped = (np.abs(one) > 0) & (np.abs(other) > 0)
    assert 0.3 < stepped.mean() < 0.6
    assert np.mean(np.sign(one[stepped]) == np.sign(other[stepped])) > 0.98


def test_rows_that_share_leaves_lie_near_one_another() -> None:
    fitted, data = forest()
    model = onnx.load_model_from_string(data)
    name = add_leaves(model)
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    (vectors,) = Session.open(model.SerializeToString(), [name]).run({"X": X[:60]})
    leaves = fitted.apply(X[:60])
    apart = (leaves[:, np.newaxis] != leaves).mean(axis=2)
    squares = ((vectors[:, np.newaxis] - vectors) ** 2).sum(axis=2)
    assert (squares[apart == 0] == 0).all()
    assert np.corrcoef(squares.ravel(), apart.ravel())[0, 1] > 0.9


def test_a_model_without_trees_has_no_leaves() -> None:
    assert add_leaves(onnx.load_model_from_string(linear())) is None


def test_a_column_is_as_likely_as_its_share_among_the_rows_of_the_class() -> None:
    x = np.array([[0.0], [0.0], [0.0], [1.0], [9.0], [9.0]], np.float32).repeat(20, axis=0)
    y = np.array([0, 0, 0, 0, 1, 1]).repeat(20)
    likely = ColumnLikelihood.fit(x, y, 2)
    e = Emitter("likely")
    own = e.op("Equal", e.op("Unsqueeze", "y", e.integers(1)), e.constant(np.arange(2)))
    name = e.op("Concat", *likely.features(e, "x", own), axis=1)
    helper = onnx.helper
    graph = helper.make_graph(
        e.nodes,
        "likely",
        [
            helper.make_tensor_value_info("x", 1, [None, 1]),
            helper.make_tensor_value_info("y", 7, [None]),
        ],
        [helper.make_tensor_value_info(name, 1, None)],
        e.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    rows = np.array([[0], [1], [9], [9]], np.float32)
    (found,) = Session.open(model.SerializeToString(), [name]).run(
        {"x": rows, "y": np.array([0, 0, 1, 0])}
    )
    own_share, lead, least = found.T
    assert own_share[0] > own_share[1] > own_share[3]
    assert (lead[:3] > 0).all()
    assert lead[3] < 0
    np.testing.assert_array_equal(least, own_share)


def test_trees_over_rows_that_are_no_table_are_refused_with_the_reason() -> None:
    with pytest.raises(SealgateError) as refused:
        responding(forest()[1], domain=(-5.0, 5000.0))
    assert refused.value.reason is Reason.GRADIENT_MISSING
    assert "finite differences need a table" in refused.value.detail
