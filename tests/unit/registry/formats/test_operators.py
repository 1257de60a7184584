"""Operators whose runs nobody could foresee from a trial are refused, wherever they stand."""

import onnx
import pytest
from onnx import TensorProto, helper

from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused

_INPUT = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
_OUTPUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
REFUSED = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "BiasDropout",
    "StringConcat",
)


def model(node: onnx.NodeProto) -> bytes:
    graph = helper.make_graph([node], "g", [_INPUT], [_OUTPUT])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(made.SerializeToString())


def branch(node: onnx.NodeProto) -> onnx.NodeProto:
    inner = helper.make_graph([node], "inner", [], [_OUTPUT])
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


@pytest.mark.parametrize("operator", REFUSED)
def test_an_operator_that_draws_or_joins_texts_is_refused(operator: str) -> None:
    node = helper.make_node(operator, ["x"], ["y"])
    for data in (model(node), model(branch(node))):
        with refused(Reason.FORMAT_REFUSED):
            check_file("model.onnx", data)


def test_a_tensor_of_such_a_name_is_accepted() -> None:
    node = helper.make_node("Identity", ["x"], ["y"], name="RandomNormal")
    check_file("model.onnx", model(node))


def test_a_dropout_that_could_train_is_refused() -> None:
    node = helper.make_node("Dropout", ["x", "", "training"], ["y"])
    for data in (model(node), model(branch(node)), with_operator_first(node)):
        with pytest.raises(SealgateError, match="training_mode"):
            check_file("model.onnx", data)


def test_a_dropout_for_inference_is_accepted() -> None:
    for inputs in (["x"], ["x", "ratio"], ["x", "", ""]):
        check_file("model.onnx", model(helper.make_node("Dropout", inputs, ["y"])))


def test_inputs_of_other_nodes_do_not_count_for_a_dropout() -> None:
    inner = helper.make_node("Dropout", ["x"], ["y"])
    node = helper.make_node("Where", ["c", "x", "y"], ["z"])
    graph = helper.make_graph([node, inner, branch(inner), node], "g", [_INPUT], [_OUTPUT])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    check_file("model.onnx", bytes(made.SerializeToString()))


def with_operator_first(node: onnx.NodeProto) -> bytes:
    """A model of a node whose operator's name stands before its inputs."""
    name = onnx.NodeProto(op_type=node.op_type).SerializeToString()
    rest = onnx.NodeProto(input=node.input, output=node.output).SerializeToString()
    # ModelProto.graph is field 7, GraphProto.node field 1; protobuf joins the parts of a graph.
    graph = b"\x0a" + bytes([len(name + rest)]) + name + rest
    return model(helper.make_node("Identity", ["x"], ["y"])) + b"\x3a" + bytes([len(graph)]) + graph
