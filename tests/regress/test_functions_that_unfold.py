"""Functions that call one another twice each unfold into millions of nodes when a model of some
kilobytes is loaded: the engine that loaded one came to no end.
"""

import onnx
import pytest
from onnx import helper

from inference.runtime import Session
from registry.formats import check_file
from sealgate.reasons import Reason
from tests.support.people import refused

_DEPTH = 25
_OPERATORS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def unfolding() -> bytes:
    """One node that stands for two to the power of `_DEPTH`."""
    calls = [[helper.make_node("Neg", ["x"], ["y"])]]
    for level in range(_DEPTH):
        name = f"f{level}"
        first = helper.make_node(name, ["x"], ["half"], domain="own")
        calls.append([first, helper.make_node(name, ["half"], ["y"], domain="own")])
    functions = [
        helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, _OPERATORS)
        for level, nodes in enumerate(calls)
    ]
    rows = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
    node = helper.make_node(f"f{_DEPTH}", ["x"], ["y"], domain="own")
    graph = helper.make_graph([node], "graph", rows[:1], rows[1:])
    model = helper.make_model(graph, functions=functions, opset_imports=_OPERATORS, ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.timeout(120)
def test_are_refused() -> None:
    graph = unfolding()
    assert len(graph) < 4096
    with refused(Reason.FORMAT_REFUSED):
        check_file("model.int8.onnx", graph)
    with refused(Reason.FORMAT_REFUSED):
        Session.open(graph, ["y"])
