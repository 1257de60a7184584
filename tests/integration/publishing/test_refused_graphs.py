"""Errors for a ready model that a worker refuses: the reason, and what to do."""

from pathlib import Path

import numpy as np
import onnx
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from sealgate.cli.main import main
from sealgate.reasons import Reason

COLUMNS, CLASSES = 4, 2


def network(operator: str) -> bytes:
    """A linear classifier behind an operator of one input."""
    draw = np.random.default_rng(0)
    nodes = [
        helper.make_node(operator, ["x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["scores"]),
    ]
    weights = numpy_helper.from_array(draw.normal(size=(COLUMNS, CLASSES)).astype(np.float32), "w")
    x, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
        for name, size in (("x", COLUMNS), ("scores", CLASSES))
    )
    graph = helper.make_graph(nodes, "one", [x], [scores], [weights])
    opset = [helper.make_opsetid("", 20)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    return model


def test_an_operator_without_a_gradient_is_named_with_what_to_do(tmp_path: Path) -> None:
    model = network("Celu")
    onnx.checker.check_model(model)
    (tmp_path / "one.onnx").write_bytes(model)
    draw = np.random.default_rng(1)
    rows = {"x": draw.random((300, COLUMNS), np.float32), "y": draw.integers(0, CLASSES, 300)}
    save_file(rows, tmp_path / "data.safetensors")
    words = [str(tmp_path / "one.onnx"), "--data", str(tmp_path / "data.safetensors")]
    told = CliRunner().invoke(main, ["model", "check", *words, "--domain", "0,1"])
    assert Reason.GRADIENT_MISSING.name in told.output
    assert Reason.WORKER_FAILED.name not in told.output
    assert "Celu" in told.output
    assert "--without-screening" in told.output
