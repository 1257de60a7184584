"""Where a graph ends: found in the float32 graph and in its INT8 form, and refused elsewhere."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from inference.engine.graphs import find_embeddings, find_last_layer
from inference.runtime.graph_rewrites import with_outputs
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import text_models
from tests.support.builders.models.onnx_models import Perceptron, constant_model
from tests.support.builders.models.version_files import clean_rows

MODEL = Perceptron.random()


def graph(body: str, *constants: str) -> bytes:
    header = '<ir_version: 9, opset_import: ["" : 20]>'
    model = parser.parse_model(f"{header} g (float[n, 4] x) => (float[n, 4] logits) {{ {body} }}")
    weight = np.arange(16, dtype=np.float32).reshape(4, 4)
    for name in constants:
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    return bytes(model.SerializeToString())


def test_both_forms_of_a_model_end_in_one_layer() -> None:
    float32, int8 = (find_last_layer(each, "logits") for each in (MODEL.serving(), MODEL.int8()))
    assert (float32.entered, int8.entered) == ("r", "r")
    assert np.array_equal(float32.weight, MODEL.w2.T)
    assert np.allclose(int8.weight, MODEL.w2.T, atol=np.abs(MODEL.w2).max() / 127)


def test_the_answer_is_the_same_where_the_vector_is_shown() -> None:
    x = clean_rows(MODEL, 7)
    providers = ["CPUExecutionProvider"]
    plain = onnxruntime.InferenceSession(MODEL.int8(), providers=providers)
    tapped = onnxruntime.InferenceSession(with_outputs(MODEL.int8(), {"r": 2}), providers=providers)
    logits, hidden = tapped.run(["logits", "r"], {"x": x})
    assert np.array_equal(logits, plain.run(["logits"], {"x": x})[0])
    assert hidden.shape == (7, 16)
    assert np.allclose(hidden, np.maximum(x @ MODEL.w1 + MODEL.b1, 0), atol=0.1)


@pytest.mark.parametrize(
    "body",
    [
        "h = MatMul(x, w) z = MatMul(h, v) logits = Identity(z)",
        "h = MatMul(x, w) logits = Gemm <transB: int = 1> (h, vt)",
        "h = MatMul(x, w) vf = Transpose <perm: ints = [1, 0]> (vt) logits = MatMul(h, vf)",
    ],
)
def test_weights_are_found_however_they_are_held(body: str) -> None:
    held = "vt" if "vt" in body else "v"
    found = find_last_layer(graph(body, "w", held), "logits")
    weight = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert found.entered == "h"
    assert np.array_equal(found.weight, weight if held == "vt" else weight.T)


@pytest.mark.parametrize(
    "model",
    [
        graph("logits = MatMul(x, w)", "w"),
        graph("h = MatMul(x, w) logits = Relu(h)", "w"),
        graph("h = MatMul(x, w) logits = MatMul(h, h)", "w"),
        graph("h = MatMul(x, w) z = MatMul(h, v) logits = Add(z, h)", "w", "v"),
        graph("h = MatMul(x, w) logits = MatMul(v, h)", "w", "v"),
        graph("h = MatMul(x, w) logits = Gemm <transA: int = 1> (h, v)", "w", "v"),
        constant_model(),
    ],
    ids=["one layer", "no product", "no weights", "two layers", "left", "turned", "constant"],
)
def test_a_graph_that_ends_otherwise_is_refused(model: bytes) -> None:
    name = onnx.load_model_from_string(model).graph.output[0].name
    with pytest.raises(SealgateError) as refused:
        find_last_layer(model, name)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_embeddings_are_what_the_table_gives() -> None:
    assert find_embeddings(text_models.source().serving, "input_ids")
    with pytest.raises(SealgateError) as refused:
        find_embeddings(MODEL.serving(), "x")
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_embeddings_are_dequantized_after_the_lookup() -> None:
    int8 = text_models.version_files()["model.int8.onnx"]
    shown = find_embeddings(int8, "input_ids")
    nodes = onnx.load_model_from_string(int8).graph.node
    assert next(node.op_type for node in nodes if shown in node.output) == "DequantizeLinear"
    (before,) = (node.output[0] for node in nodes if node.op_type == "Gather")
    rows = np.array([[2, 5, 9, 3]], np.int64)
    feeds = {"input_ids": rows, "attention_mask": np.ones_like(rows)}
    found = [
        onnxruntime.InferenceSession(with_outputs(int8, {name: 3})).run([name], feeds)[0]
        for name in (shown, before)
    ]
    assert np.array_equal(*found)
