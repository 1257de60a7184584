"""Sums over places: the same bits for a row alone as among others, and as several always had."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.runtime.graph_rewrites import steady_sums

Floats = np.ndarray
ROWS = np.random.default_rng(1).standard_normal((16, 33, 24)).astype(np.float32)


def graph(
    op: str,
    axes: list[int],
    keeps: int,
    *,
    opset: int = 20,
    shape: tuple[int, ...] = (33, 24),
    summed: str = "twice",
) -> bytes:
    """x [n, …], or twice that, summed."""
    sides = ["n", *"stuv"[: len(shape)]]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in "xy")
    y.type.tensor_type.ClearField("shape")
    as_input = opset >= (13 if op == "ReduceSum" else 18)
    stated = {} if as_input else {"axes": axes}
    names = [summed, "axes"] if as_input else [summed]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node(op, names, ["y"], keepdims=keeps, **stated),
    ]
    constants = [numpy_helper.from_array(np.array(axes, np.int64), "axes")] if as_input else []
    made = helper.make_graph(nodes, "sums", [x], [y], constants)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=imports, ir_version=9).SerializeToString()


def run(model: bytes, x: Floats) -> Floats:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: Floats = session.run(None, {"x": x})[0]
    return found


@pytest.mark.parametrize("opset", [9, 11, 13, 20])
@pytest.mark.parametrize("keeps", [0, 1])
@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
def test_a_row_alone_is_summed_as_it_is_among_others(
    op: str, axis: int, keeps: int, opset: int
) -> None:
    before = graph(op, [axis], keeps, opset=opset)
    steady = steady_sums(before)
    together = run(steady, ROWS)
    assert np.array_equal(together, run(before, ROWS))
    alone = [run(steady, row[np.newaxis]) for row in ROWS]
    assert np.array_equal(np.concatenate(alone), together)


def test_rows_as_they_come_in_are_summed_so_too() -> None:
    before = graph("ReduceMean", [1], 0, summed="x")
    steady = steady_sums(before)
    alone = [run(steady, row[np.newaxis]) for row in ROWS]
    assert np.array_equal(np.concatenate(alone), run(before, ROWS))


@pytest.mark.parametrize(
    "other",
    [
        graph("ReduceSum", [2], 0),
        graph("ReduceMean", [1, 2], 0),
        graph("ReduceMax", [1], 0),
        graph("ReduceSum", [1], 0, shape=(33,)),
        graph("ReduceMean", [1], 1, shape=(5, 6, 7)),
        graph("ReduceSum", [1], 1, opset=8),
    ],
    ids=["behind", "all of a row", "the largest", "of two axes", "of four axes", "without ones"],
)
def test_other_sums_are_left_as_they_are(other: bytes) -> None:
    assert steady_sums(other) is other


def test_axes_that_are_no_constant_and_graphs_that_make_no_sense_are_left_to_the_runtime() -> None:
    model = onnx.ModelProto.FromString(graph("ReduceSum", [1], 0))
    del model.graph.initializer[:]
    unknown = model.SerializeToString()
    assert steady_sums(unknown) is unknown
    broken = onnx.ModelProto.FromString(graph("ReduceSum", [1], 0))
    broken.graph.initializer[0].raw_data = b"\0"
    cut = broken.SerializeToString()
    assert steady_sums(cut) is cut
