"""The contract of response graphs: accepted and refused graphs."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.runtime.response_contract import (
    FORWARD_TOLERANCE,
    ResponseShape,
    check_response_graph,
    check_same_forward,
    check_same_parameters,
)
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron, constant_model

RESPONSE = Perceptron.random().response()
SERVING = Perceptron.random().serving()
Change = Callable[[onnx.GraphProto], None]


def altered(change: Change) -> onnx.ModelProto:
    model = onnx.load_model_from_string(RESPONSE)
    change(model.graph)
    return model


def test_a_response_graph_passes_and_tells_its_sizes() -> None:
    expected = ResponseShape(row=(8,), classes=3, features=4)
    assert check_response_graph(RESPONSE) == expected
    assert check_response_graph(onnx.load_model_from_string(RESPONSE), [8], 3) == expected


@pytest.mark.parametrize(("row", "classes"), [((9,), 3), ((8, 1), 3), ((8,), 4)])
def test_other_sizes_are_refused(row: tuple[int, ...], classes: int) -> None:
    with pytest.raises(SealgateError) as refused:
        check_response_graph(RESPONSE, row, classes)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize("data", [b"", b"not a model", SERVING[: len(SERVING) // 2]])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        check_response_graph(data)
    assert refused.value.reason is Reason.FORMAT_REFUSED


@pytest.mark.parametrize("model", [SERVING, constant_model()])
def test_another_graph_is_refused(model: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        check_response_graph(model)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def _input(graph: onnx.GraphProto, name: str) -> onnx.ValueInfoProto:
    return next(value for value in (*graph.input, *graph.output) if value.name == name)


def _retype(name: str, code: int, shape: list[str | int]) -> Change:
    def change(graph: onnx.GraphProto) -> None:
        _input(graph, name).CopyFrom(helper.make_tensor_value_info(name, code, shape))

    return change


def _bind_eps(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "eps"))


def _extra_input(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, []))


def _extra_output(graph: onnx.GraphProto) -> None:
    graph.output.append(helper.make_tensor_value_info("margin", TensorProto.FLOAT, ["n", 1]))


@pytest.mark.parametrize(
    "change",
    [
        _retype("label", TensorProto.INT32, ["n"]),
        _retype("label", TensorProto.INT64, ["n", 1]),
        _retype("label", TensorProto.INT64, [4]),
        _retype("eps", TensorProto.FLOAT, [1]),
        _retype("eps", TensorProto.DOUBLE, []),
        _retype("x", TensorProto.FLOAT, [4, 8]),
        _retype("x", TensorProto.FLOAT, ["n", "m"]),
        _retype("x", TensorProto.FLOAT, ["n"]),
        _retype("x_adv", TensorProto.FLOAT, ["n", 7]),
        _retype("logits", TensorProto.FLOAT, ["n", 3, 1]),
        _retype("features", TensorProto.FLOAT, ["n", 4, 1]),
        _retype("features", TensorProto.FLOAT, ["n", 5000]),
        _bind_eps,
        _extra_input,
        _extra_output,
    ],
)
def test_a_graph_with_another_face_is_refused(change: Change) -> None:
    with pytest.raises(SealgateError) as refused:
        check_response_graph(altered(change))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_graphs_of_the_same_weights_agree() -> None:
    check_same_parameters(SERVING, RESPONSE)


def _nudge(graph: onnx.GraphProto) -> None:
    tensor = next(tensor for tensor in graph.initializer if tensor.name == "w1")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0] = np.nextafter(values[0, 0], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(values, "w1"))


def _rename(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        if tensor.name == "w2":
            tensor.name = "other"
    for node in graph.node:
        node.input[:] = ["other" if name == "w2" else name for name in node.input]


@pytest.mark.parametrize("change", [_nudge, _rename])
def test_graphs_of_other_weights_are_refused(change: Change) -> None:
    with pytest.raises(SealgateError) as refused:
        check_same_parameters(SERVING, altered(change))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize("shift", [2 * FORWARD_TOLERANCE, -1.0, np.nan, np.inf])
def test_another_forward_is_refused(shift: float) -> None:
    logits = np.zeros((3, 2), np.float32)
    other = logits.copy()
    other[2, 1] += np.float32(shift)
    with pytest.raises(SealgateError) as refused:
        check_same_forward(logits, other)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_a_forward_of_another_shape_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        check_same_forward(np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_rounding_is_no_other_forward() -> None:
    check_same_forward(np.zeros((3, 2), np.float32), np.full((3, 2), 5e-5, np.float32))
