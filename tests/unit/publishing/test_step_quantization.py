"""INT8 behind the steps of a text's response graph: answers stay, and steps say about the same."""

from collections import Counter

import numpy as np
import pytest

from inference.runtime import response_contract
from inference.runtime.session import Session
from inference.text import tokens
from publishing.quantization import quantize_steps
from publishing.serialization import parse_model
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import with_external_data
from tests.support.builders.models.text_models import dataset, source

FLOAT32 = source().response
ROWS = dataset().fit.x
EPS = source().config.eps


@pytest.fixture(scope="module")
def int8() -> bytes:
    return quantize_steps(FLOAT32, ROWS, EPS)


def run(graph: bytes, rows: np.ndarray, eps: float = EPS) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features."""
    feeds = tokens.feeds(rows) | {
        response_contract.LABEL: np.full(len(rows), response_contract.OWN_PREDICTION),
        response_contract.EPS: np.array(eps, np.float32),
    }
    outputs = response_contract.LOGITS, response_contract.FEATURES
    logits, features = Session.open(graph, outputs).run(feeds)
    return logits, features


def test_answers_stay_and_what_follows_a_step_is_all_that_moves(int8: bytes) -> None:
    rows = dataset().test.x[:64]
    (logits, features), (expected, exact) = run(int8, rows), run(FLOAT32, rows)
    np.testing.assert_array_equal(logits, expected)
    # Of larger steps, only these say something else.
    stepped = (run(FLOAT32, rows, 2 * EPS)[1] != exact).any(axis=0)
    moved = (features != exact).any(axis=0)
    assert moved.any()
    assert not (moved & ~stepped).any()
    for place in np.flatnonzero(moved):
        assert np.corrcoef(features[:, place], exact[:, place])[0, 1] > 0.8


def test_the_weights_are_still_there_beside_those_of_the_steps(int8: bytes) -> None:
    response_contract.check_same_parameters(source().serving, int8)
    response_contract.check_text_response_graph(int8)
    kinds = Counter(node.op_type for node in parse_model(int8).graph.node)
    assert kinds["QuantizeLinear"] > 0


def test_the_same_graph_and_rows_give_the_same_bytes(int8: bytes) -> None:
    assert quantize_steps(FLOAT32, ROWS, EPS) == int8


def test_a_graph_that_has_been_quantized_stays_as_it_is(int8: bytes) -> None:
    assert quantize_steps(int8, ROWS, EPS) is int8


def test_a_graph_with_data_elsewhere_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        quantize_steps(with_external_data(FLOAT32), ROWS, EPS)
    assert refused.value.reason is Reason.EXTERNAL_DATA
