"""The gradient of each operator is torch's, and that of finite differences."""

import zlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from publishing.differentiate.backward import RULES
from tests.support.builders.models.operator_cases import (
    CASES,
    ROW,
    Case,
    built,
    case_name,
    in_torch,
)
from tests.support.builders.models.operator_graphs import (
    GENERATOR,
    X,
    Y,
    backward_of,
    drawn,
    ints,
    model_of,
    t,
)

# Tested in models of their own below.
ELSEWHERE = {"Cast", "Ceil", "Floor", "Round", "Sign", "Split", "Where"}


@pytest.fixture(autouse=True)
def _draws_of_its_own(request: pytest.FixtureRequest) -> None:
    """Each test draws the same numbers, whichever run before it on its worker: finite differences
    that straddle a kink are no gradient.
    """
    GENERATOR.bit_generator.state = np.random.default_rng(
        zlib.crc32(request.node.name.encode())
    ).bit_generator.state


def check(
    model: onnx.ModelProto, rows: np.ndarray, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    session = backward_of(model, rows[:3])
    x = torch.from_numpy(rows).requires_grad_(True)
    answer = function(x)
    seed = GENERATOR.standard_normal(answer.shape).astype(np.float32)
    (answer * t(seed)).sum().backward()
    assert x.grad is not None
    expected = x.grad.numpy()
    y, found = session.run({X: rows, "seed": seed})
    np.testing.assert_allclose(y, answer.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert found.shape == rows.shape
    size = max(float(np.abs(expected).max()), 1e-6)
    assert np.abs(found - expected).max() / size < 1e-4
    # Finite differences along one direction, of the ONNX operator itself.
    way = GENERATOR.standard_normal(rows.shape).astype(np.float32)
    step = np.float32(2e-3)

    def loss(x: np.ndarray) -> float:
        return float((session.run({X: x, "seed": seed})[0].astype(np.float64) * seed).sum())

    measured = (loss(rows + step * way) - loss(rows - step * way)) / (2 * float(step))
    foretold = float((found.astype(np.float64) * way).sum())
    assert measured == pytest.approx(
        foretold, rel=0.02, abs=0.02 * float(np.abs(found).max()) + 1e-4
    )


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_an_operators_gradient_is_torchs_and_that_of_finite_differences(case: Case) -> None:
    rows = np.linspace(case.low, case.high, 5 * int(np.prod(case.row))) * 0.98 + 0.007
    rows = GENERATOR.permutation(rows).astype(np.float32).reshape(5, *case.row)
    check(built(case), rows, lambda x: in_torch(case, x))


def test_every_rule_has_a_case() -> None:
    assert {case.kind for case in CASES} | ELSEWHERE == set(RULES)


def test_the_parts_of_a_split_go_back_to_their_places() -> None:
    nodes = [
        helper.make_node("Split", [X, "sizes"], ["a", "b", "unread"], axis=1),
        helper.make_node("Mul", ["a", "b"], [Y]),
    ]
    model = model_of(nodes, (6, 2), {"sizes": ints(2, 2, 2)})
    check(model, drawn(4, 6, 2), lambda x: x[:, :2] * x[:, 2:4])


@pytest.mark.parametrize("index", [np.array(2), ints(4, 1), np.array([[5, 0], [0, 3]])])
def test_rows_may_lie_behind_an_axis_that_is_gathered_from(index: np.ndarray) -> None:
    """As where torch exports attention: its rows are the second axis, or the third."""
    back = [index.ndim, *range(index.ndim), index.ndim + 1]
    nodes = [
        helper.make_node("Transpose", [X], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Gather", ["turned", "index"], ["found"], axis=0),
        # One that moves nothing is optimized away wrongly by onnxruntime 1.31.
        helper.make_node("Transpose", ["found"], [Y], perm=back)
        if index.ndim
        else helper.make_node("Identity", ["found"], [Y]),
    ]
    model = model_of(nodes, (6, 4), {"index": index})
    check(model, drawn(4, 6, 4), lambda x: x.permute(1, 0, 2)[t(index)].permute(back))


def test_where_and_casts_pass_the_gradient_of_what_was_chosen() -> None:
    nodes = [
        helper.make_node("Greater", [X, "c"], ["chosen"]),
        helper.make_node("Tanh", [X], ["one"]),
        helper.make_node("Where", ["chosen", "one", "c"], ["mixed"]),
        helper.make_node("Cast", ["mixed"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["wide"], [Y], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, (3, 4), {"c": ROW})
    rows = drawn(4, 3, 4) * 2
    # None near the jump, which finite differences would cross.
    rows += np.where(np.abs(rows - ROW) < 0.05, np.float32(0.1), np.float32(0))
    check(model, rows, lambda x: torch.where(x > t(ROW), torch.tanh(x), t(ROW)))


@pytest.mark.parametrize("kind", ["Ceil", "Floor", "Round", "Sign"])
def test_steps_pass_no_gradient(kind: str) -> None:
    nodes = [helper.make_node(kind, [X], ["steps"]), helper.make_node("Add", ["steps", X], [Y])]
    session = backward_of(model_of(nodes, (3,), {}), drawn(3, 3))
    rows = drawn(4, 3)
    np.testing.assert_array_equal(session.run({X: rows, "seed": np.ones_like(rows)})[1], 1)


def test_the_length_of_a_row_of_zeros_has_a_slope_of_zero() -> None:
    model = model_of([helper.make_node("ReduceL2", [X, "a"], [Y])], (4,), {"a": ints(1)})
    rows = np.zeros((3, 4), np.float32)
    seed = np.ones((3, 1), np.float32)
    np.testing.assert_array_equal(backward_of(model, rows).run({X: rows, "seed": seed})[1], 0)
