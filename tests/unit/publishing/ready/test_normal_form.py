"""A ready model's normal form: one input of numbers, one output of scores, plain operators."""

from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from inference.model.config import ModelConfig
from inference.runtime.session import Session
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.normal_form import NormalModel, normal_model
from publishing.ready.scores import are_probabilities, scored
from publishing.source.dataset import Dataset, DataSlice
from sealgate.reasons import Reason, SealgateError

GENERATOR = np.random.default_rng(8)
ROWS = GENERATOR.uniform(1, 9, (80, 5)).astype(np.float32)
CLASSES = (ROWS.sum(axis=1) // 5 % 3).astype(np.int64)


def answers(found: NormalModel, rows: np.ndarray = ROWS) -> np.ndarray:
    session = Session.open(found.model.SerializeToString(), [found.output])
    return session.run({found.input: rows})[0]


def sklearn_model(kind: Any, classes: np.ndarray = CLASSES, **options: Any) -> tuple[Any, bytes]:
    fitted = make_pipeline(StandardScaler(), kind).fit(ROWS, classes)
    return fitted, skl2onnx.to_onnx(fitted, ROWS[:1], options=options or None).SerializeToString()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("classes", [CLASSES, CLASSES % 2])
@pytest.mark.parametrize("kind", [LogisticRegression(), MLPClassifier((8,), max_iter=20)])
def test_a_linear_pipeline_becomes_plain_operators_with_its_own_probabilities(
    kind: Any, classes: np.ndarray, zipped: bool
) -> None:
    fitted, data = sklearn_model(kind, classes, zipmap=zipped)
    found = normal_model(data, ROWS)
    assert {node.domain for node in found.model.graph.node} <= {""}
    assert [value.name for value in found.model.graph.output] == [found.output]
    assert found.width == classes.max() + 1
    np.testing.assert_allclose(answers(found), fitted.predict_proba(ROWS), atol=1e-5)


def test_a_normalizer_is_written_plainly() -> None:
    fitted = make_pipeline(Normalizer("l2"), LogisticRegression()).fit(ROWS, CLASSES)
    found = normal_model(skl2onnx.to_onnx(fitted, ROWS[:1]).SerializeToString(), ROWS)
    assert {node.domain for node in found.model.graph.node} <= {""}
    np.testing.assert_allclose(answers(found), fitted.predict_proba(ROWS), atol=1e-5)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_a_normalizer_leaves_a_row_of_zeros_as_it_is(norm: str) -> None:
    fitted = make_pipeline(Normalizer(norm), LogisticRegression()).fit(ROWS, CLASSES)
    found = normal_model(skl2onnx.to_onnx(fitted, ROWS[:1]).SerializeToString(), ROWS)
    rows = np.vstack([np.zeros_like(ROWS[:1]), ROWS[:3]])
    np.testing.assert_allclose(answers(found, rows), fitted.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("missing", [np.nan, -1.0, 0.0])
@pytest.mark.parametrize("strategy", ["mean", "most_frequent"])
def test_an_imputer_is_written_plainly(strategy: str, missing: float) -> None:
    gaps = ROWS.copy()
    gaps[::7, 1] = gaps[::5, 3] = missing
    imputer = SimpleImputer(missing_values=missing, strategy=strategy)
    fitted = make_pipeline(imputer, StandardScaler(), LogisticRegression()).fit(gaps, CLASSES)
    found = normal_model(skl2onnx.to_onnx(fitted, gaps[:1]).SerializeToString(), ROWS)
    assert {node.domain for node in found.model.graph.node} <= {""}
    for rows in (ROWS, gaps):
        np.testing.assert_allclose(answers(found, rows), fitted.predict_proba(rows), atol=1e-5)


def test_what_is_not_linear_stays_as_it_is() -> None:
    fitted, data = sklearn_model(GaussianNB())
    np.testing.assert_allclose(
        answers(normal_model(data, ROWS)), fitted.predict_proba(ROWS), atol=1e-4
    )


def plain(
    nodes: list[onnx.NodeProto],
    *outputs: str,
    kind: int = TensorProto.FLOAT,
    opset: int = 17,
    inputs: tuple[str, ...] = ("x",),
    constants: dict[str, Any] | None = None,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info(name, kind, [None, 5]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


COLUMN = {"w": np.array([[0.3], [-0.2], [0.1], [0.4], [-0.5]], np.float32)}
TABLE = {"w": GENERATOR.standard_normal((5, 3)).astype(np.float32)}
SCORE = helper.make_node("MatMul", ["x", "w"], ["z"])
PROBABILITY = helper.make_node("Sigmoid", ["z"], ["p"])


def test_one_probability_becomes_two_classes() -> None:
    found = normal_model(plain([SCORE, PROBABILITY], "p", constants=COLUMN), ROWS)
    p = 1 / (1 + np.exp(-ROWS @ COLUMN["w"]))
    assert (found.output, found.width) == ("p", 2)
    np.testing.assert_allclose(answers(found), np.hstack([1 - p, p]), atol=1e-6)
    assert scored(found.model, config_of(found), 1e-30)[2] == "scores/two"


def test_one_score_becomes_two_whose_softmax_is_its_sigmoid() -> None:
    found = normal_model(plain([SCORE], "z", constants=COLUMN), ROWS)
    scores = np.exp(answers(found).astype(np.float64))
    p = 1 / (1 + np.exp(-ROWS @ COLUMN["w"]))
    np.testing.assert_allclose(scores[:, 1:] / scores.sum(axis=1, keepdims=True), p, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.INT64])
def test_numbers_of_another_type_are_sent_as_float32(kind: int) -> None:
    cast = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
    product = helper.make_node("MatMul", ["f", "w"], ["z"])
    found = normal_model(plain([cast, product], "z", kind=kind, constants=TABLE), ROWS)
    assert found.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    rows = np.trunc(ROWS)
    np.testing.assert_allclose(answers(found, rows), rows @ TABLE["w"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 17, 22])
def test_an_older_operator_set_is_brought_up_to_date(opset: int) -> None:
    softmax = helper.make_node("Softmax", ["z"], ["p"], axis=1)
    found = normal_model(plain([SCORE, softmax], "p", opset=opset, constants=TABLE), ROWS)
    assert found.model.opset_import[0].version >= 20
    np.testing.assert_allclose(answers(found).sum(axis=1), 1, atol=1e-5)


def test_an_operator_that_cannot_be_brought_up_to_date_is_refused() -> None:
    places = helper.make_tensor("places", TensorProto.INT64, [1], [7])
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [0.5])
    sparse = helper.make_sparse_tensor(values, places, [5, 3])
    constant = helper.make_node("Constant", [], ["w"], sparse_value=sparse)
    with pytest.raises(SealgateError) as refused:
        normal_model(plain([constant, SCORE], "z"), ROWS)
    assert refused.value.reason is Reason.FORMAT_REFUSED
    assert "operator set 17 cannot be brought to 20: export it anew" in refused.value.detail


def test_weights_do_not_keep_names_that_the_response_graph_needs() -> None:
    node = helper.make_node("MatMul", ["x", "eps"], ["logits"])
    found = normal_model(plain([node], "logits", constants={"eps": TABLE["w"]}), ROWS)
    assert [tensor.name for tensor in found.model.graph.initializer] == ["model/eps"]
    np.testing.assert_allclose(answers(found), ROWS @ TABLE["w"], rtol=1e-5, atol=1e-5)


def test_an_output_can_be_named_where_several_have_scores() -> None:
    nodes = [SCORE, helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    data = plain(nodes, "z", "p", constants=TABLE)
    assert normal_model(data, ROWS, "p").output == "p"
    for wanted, detail in ((None, "name one with --output"), ("q", "there is no output q")):
        with pytest.raises(SealgateError) as refused:
            normal_model(data, ROWS, wanted)
        assert refused.value.reason is Reason.GRAPH_MISMATCH
        assert detail in refused.value.detail


BRANCH = helper.make_graph(
    [helper.make_node("Identity", ["z"], ["b"])],
    "branch",
    [],
    [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
)
YES = {"yes": np.array(True)}


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (
            plain([helper.make_node("Add", ["x", "other"], ["z"])], "z", inputs=("x", "other")),
            "give data for each by name (x, other)",
        ),
        (
            plain([helper.make_node("Identity", ["x"], ["z"])], "z", kind=TensorProto.STRING),
            "is not a tensor of numbers",
        ),
        (
            plain(
                [
                    SCORE,
                    helper.make_node("If", ["yes"], ["p"], then_branch=BRANCH, else_branch=BRANCH),
                ],
                "p",
                constants=TABLE | YES,
            ),
            "without control flow",
        ),
        (
            plain([SCORE], "z", constants={"w": np.ones((4, 3), np.float32)}),
            "does not run on rows of shape (5,)",
        ),
        (
            plain(
                [SCORE, helper.make_node("Reshape", ["z", "shape"], ["p"])],
                "p",
                constants=TABLE | {"shape": np.array([1, 3])},
            ),
            "export it with a free first dimension",
        ),
    ],
)
def test_what_cannot_be_governed_yet_is_refused_with_what_to_do(data: bytes, detail: str) -> None:
    with pytest.raises(SealgateError) as refused:
        normal_model(data, ROWS)
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert detail in refused.value.detail


def config_of(found: NormalModel) -> ModelConfig:
    part = DataSlice(ROWS, CLASSES % found.width)
    data = Dataset(part, part, part, "", 1)
    form = NormalForm(found.input, found.output, found.width)
    return ModelDescription("m").config(form, data, np.zeros((1, found.width), np.float32))


@pytest.mark.parametrize("classes", [CLASSES, CLASSES % 2])
@pytest.mark.parametrize("kind", [LogisticRegression(), MLPClassifier((8,), max_iter=20)])
def test_the_scores_are_what_enters_the_last_softmax_or_sigmoid(
    kind: Any, classes: np.ndarray
) -> None:
    fitted, data = sklearn_model(kind, classes)
    found = normal_model(data, ROWS)
    model, output, scores = scored(found.model, config_of(found), 1e-30)
    assert scores != output
    assert "Log" not in {node.op_type for node in model.graph.node}
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=scores))
    (logits,) = Session.open(model.SerializeToString(), [scores]).run({"x": ROWS})
    expected = np.log(fitted.predict_proba(ROWS))
    np.testing.assert_allclose(
        logits - logits[:, :1], expected - expected[:, :1], rtol=1e-3, atol=1e-3
    )


def test_scores_of_other_probabilities_are_their_logarithms() -> None:
    total = helper.make_node("ReduceSum", ["s", "axis"], ["t"], keepdims=1)
    nodes = [
        SCORE,
        helper.make_node("Sigmoid", ["z"], ["s"]),
        total,
        helper.make_node("Div", ["s", "t"], ["p"]),
    ]
    found = normal_model(plain(nodes, "p", constants=TABLE | {"axis": np.array([1])}), ROWS)
    assert are_probabilities(found.model, config_of(found), ROWS)
    assert scored(found.model, config_of(found), 1e-30)[2] == "scores/log"
