"""A graph cut down to some outputs answers them as before."""

import numpy as np
import onnx
import onnxruntime
from onnx import parser

from inference.screening import attack
from inference.screening.pruning import drop_unread, keep_outputs
from tests.support.onnx_models import Perceptron

RESPONSE = Perceptron.random().response()


def test_the_outputs_that_are_kept_do_not_change() -> None:
    cut = keep_outputs(RESPONSE, ("logits", "features"))
    feeds = attack.feeds(np.random.default_rng(0).random((5, 8), np.float32), 0.05, 0, 1)
    providers = ["CPUExecutionProvider"]
    whole = onnxruntime.InferenceSession(RESPONSE, providers=providers)
    part = onnxruntime.InferenceSession(cut, providers=providers)
    wanted = ["logits", "features"]
    assert [value.name for value in part.get_outputs()] == wanted
    # All inputs are still taken, so that either graph is fed alike.
    for before, after in zip(whole.run(wanted, feeds), part.run(wanted, feeds), strict=True):
        assert np.array_equal(before, after)


def test_what_only_the_others_needed_is_gone() -> None:
    before = onnx.load_model_from_string(RESPONSE).graph
    after = onnx.load_model_from_string(keep_outputs(RESPONSE, ["logits"])).graph
    assert [node.op_type for node in after.node] == ["MatMul", "Add", "Relu", "MatMul", "Add"]
    assert {tensor.name for tensor in after.initializer} == {"w1", "b1", "w2", "b2"}
    assert len(after.node) < len(before.node)


def test_what_a_branch_reads_is_kept() -> None:
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        branching (float[n] x, bool which) => (float[n] y) {
            a = Neg(x)
            b = Abs(x)
            c = Exp(x)
            y = If(which) <
                then_branch = one () => (float[n] t) { t = Identity(a) },
                else_branch = two () => (float[n] e) { e = Identity(b) }
            >
        }"""
    )
    drop_unread(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Neg", "Abs", "If"]
