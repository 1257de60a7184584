"""Graphs without a gradient are refused, with what is missing and what to do."""

from typing import Any

import onnx
import pytest
from onnx import helper

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.operator_cases import ROW
from tests.support.builders.models.operator_graphs import X, Y, backward_of, drawn, ints, model_of


def refused(
    nodes: list[onnx.NodeProto], row: tuple[int, ...], constants: dict[str, Any]
) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        backward_of(model_of(nodes, row, constants), drawn(3, *row))
    return caught.value


def test_an_operator_without_a_gradient_is_named_with_what_to_do() -> None:
    node = helper.make_node("Celu", [X], [Y], name="layer 3")
    error = refused([node], (4,), {})
    assert error.reason is Reason.GRADIENT_MISSING
    assert "Celu (layer 3)" in error.detail
    assert "--without-gradient" in error.detail


@pytest.mark.parametrize(
    ("kind", "constants", "attributes", "detail"),
    [
        ("Pad", (ints(0, 1, 0, 1),), {"mode": "reflect"}, "a padding of mode reflect"),
        ("MatMul", (drawn(4),), {}, "a product with a vector"),
        ("Einsum", (ROW,), {"equation": "n...,...->n..."}, "an ellipsis"),
        ("Max", (ROW, ROW), {}, "more than two inputs"),
        ("ReduceMean", (ints(0),), {}, "ReduceMean (y): axis 0 is that of the rows"),
    ],
)
def test_what_a_rule_does_not_cover_is_said(
    kind: str, constants: tuple[Any, ...], attributes: dict[str, Any], detail: str
) -> None:
    names = [f"c{at}" for at in range(len(constants))]
    node = helper.make_node(kind, [X, *names], [Y], **attributes)
    error = refused([node], (4,), dict(zip(names, constants, strict=True)))
    assert error.reason is Reason.GRADIENT_MISSING
    assert detail in error.detail


def test_a_resize_whose_sizes_are_rounded_is_refused_by_name() -> None:
    policy = {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}
    node = helper.make_node("Resize", [X, "", "", "sizes"], [Y], mode="linear", **policy)
    error = refused([node], (3, 4, 5), {"sizes": ints(6, 20)})
    assert error.reason is Reason.GRADIENT_MISSING
    assert "keep_aspect_ratio_policy not_larger rounds its sizes" in error.detail


def test_a_model_of_a_fixed_number_of_rows_is_refused_with_what_to_do() -> None:
    node = helper.make_node("Reshape", [X, "shape"], [Y])
    error = refused([node], (4,), {"shape": ints(1, 4)})
    assert error.reason is Reason.GRAPH_MISMATCH
    assert "export it with a free first dimension" in error.detail


def test_a_result_that_does_not_depend_on_the_rows_is_refused() -> None:
    nodes = [helper.make_node("Sign", [X], [Y])]
    assert refused(nodes, (4,), {}).reason is Reason.GRADIENT_MISSING
