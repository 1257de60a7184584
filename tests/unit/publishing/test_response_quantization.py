"""INT8 in a text's response graph: answers and gradients stay, and features say about the same."""

from collections import Counter

import numpy as np
import pytest

from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs
from inference.runtime.session import Session
from inference.text import tokens
from publishing.quantization import quantize_response
from publishing.serialization import parse_model
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import with_external_data
from tests.support.builders.models.text_models import dataset, source

FLOAT32 = source().response
ROWS = dataset().fit.x
EPS = source().config.eps


@pytest.fixture(scope="module")
def int8() -> bytes:
    return quantize_response(FLOAT32, ROWS, EPS)


def run(graph: bytes, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Logits, x_adv and features."""
    feeds = tokens.feeds(rows) | {
        response_contract.LABEL: np.full(len(rows), response_contract.OWN_PREDICTION),
        response_contract.EPS: np.array(EPS, np.float32),
    }
    return tuple(Session.open(graph, response_contract.OUTPUTS).run(feeds))


def test_answers_and_steps_stay_and_features_say_about_the_same(int8: bytes) -> None:
    rows = dataset().test.x[:64]
    (*kept, features), (*expected, exact) = run(int8, rows), run(FLOAT32, rows)
    for found, before in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(found, before)
    moved = (features != exact).any(axis=0)
    assert moved.any()
    for place in np.flatnonzero(moved):
        assert np.corrcoef(features[:, place], exact[:, place])[0, 1] > 0.8


def test_the_weights_are_still_there_beside_their_copies(int8: bytes) -> None:
    response_contract.check_same_parameters(source().serving, int8)
    response_contract.check_text_response_graph(int8)
    kinds = Counter(node.op_type for node in parse_model(int8).graph.node)
    assert kinds["QuantizeLinear"] > 0


def test_features_need_no_float32_product_with_weights_of_the_model(int8: bytes) -> None:
    graph = parse_model(keep_outputs(int8, [response_contract.FEATURES])).graph
    held = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    weights = {tensor.name for tensor in parse_model(source().serving).graph.initializer}
    products = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert products
    own = (name.removeprefix("features/") for node in products for name in node.input)
    assert not weights.intersection(own) & {name.removeprefix("features/") for name in held}


def test_the_same_graph_and_rows_give_the_same_bytes(int8: bytes) -> None:
    assert quantize_response(FLOAT32, ROWS, EPS) == int8


def test_a_graph_that_has_been_quantized_stays_as_it_is(int8: bytes) -> None:
    assert quantize_response(int8, ROWS, EPS) is int8


def test_a_graph_with_data_elsewhere_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        quantize_response(with_external_data(FLOAT32), ROWS, EPS)
    assert refused.value.reason is Reason.EXTERNAL_DATA
