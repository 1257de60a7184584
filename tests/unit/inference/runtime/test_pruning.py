"""Pruning: what the wanted outputs do not need is gone, what subgraphs read is not."""

import numpy as np
import onnx
from onnx import parser

from inference.engine.graphs import open_response
from inference.model.inputs import form_of
from inference.runtime.graph_rewrites import drop_unread, keep_outputs, keep_read_inputs
from inference.runtime.session import Session, scalar
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles

MODEL = Perceptron.random()

_BRANCHING = """
<ir_version: 9, opset_import: ["" : 20]>
branching (float[n, 2] x, bool flag) => (float[n, 2] wanted, float[n, 2] other) {
    shift = Constant<value: tensor = float[2] {1, 2}>()
    moved = Add(x, shift)
    other = Neg(x)
    wanted = If(flag) <
        then_branch: graph = yes () => (float[n, 2] a) { a = Mul(moved, moved) },
        else_branch: graph = no () => (float[n, 2] b) { b = Identity(x) }
    >
}
"""


def test_features_come_out_the_same_without_the_other_outputs_nodes() -> None:
    graph = MODEL.response()
    pruned = keep_outputs(graph, ("features",))
    before, after = (onnx.load_model_from_string(data).graph for data in (graph, pruned))
    assert [output.name for output in after.output] == ["features"]
    assert [value.name for value in after.input] == [value.name for value in before.input]
    names = {name for node in after.node for name in node.output}
    # Softmax feeds a feature here; the step of the cross-entropy feeds none.
    assert "p" in names
    assert names.isdisjoint({"dz", "g", "s", "step", "moved", "x_adv"})
    feeds = {
        "x": np.random.default_rng(0).random((5, MODEL.inputs), np.float32),
        "label": np.full(5, -1),
        "eps": scalar(0.1),
        "clip_min": scalar(0),
        "clip_max": scalar(1),
    }
    (expected,) = Session.open(graph, ("features",)).run(feeds)
    (found,) = Session.open(pruned, ("features",)).run(feeds)
    assert np.array_equal(found, expected)


def test_unneeded_initializers_are_gone() -> None:
    graph = MODEL.response()
    names = {
        t.name
        for t in onnx.load_model_from_string(keep_outputs(graph, ("logits",))).graph.initializer
    }
    assert names == {"w1", "b1", "w2", "b2"}


def test_what_only_a_subgraph_reads_stays() -> None:
    graph = parser.parse_model(_BRANCHING).SerializeToString()
    pruned = keep_outputs(graph, ("wanted",))
    kinds = [node.op_type for node in onnx.load_model_from_string(pruned).graph.node]
    assert kinds == ["Constant", "Add", "If"]
    feeds = {"x": np.array([[1, 1]], np.float32), "flag": np.array(True)}
    assert Session.open(pruned, ("wanted",)).run(feeds)[0].tolist() == [[4.0, 9.0]]


def test_dropping_in_place_keeps_what_branches_read() -> None:
    model = parser.parse_model(_BRANCHING)
    del model.graph.output[1]
    drop_unread(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Constant", "Add", "If"]


def test_inputs_that_nothing_reads_go_and_need_not_be_fed() -> None:
    model = parser.parse_model(_BRANCHING.replace("bool flag", "bool flag, float unread"))
    graph = keep_read_inputs(model.SerializeToString())
    session = Session.open(graph, ("wanted",))
    assert session.inputs == {"x", "flag"}
    feeds = {"x": np.array([[1, 1]], np.float32), "flag": np.array(True), "unread": scalar(1)}
    assert session.run(feeds)[0].tolist() == [[4.0, 9.0]]


def test_what_requests_run_has_the_models_settings_bound() -> None:
    config = VersionFiles.of(MODEL).config
    whole, pruned = open_response(MODEL.response(), config, 1, compared=True)
    assert {"eps", "clip_min", "clip_max"} <= whole.inputs
    assert pruned.inputs.isdisjoint({"eps", "clip_min", "clip_max"})
    rows = np.random.default_rng(0).random((5, MODEL.inputs), np.float32)
    feeds = form_of(config).screening(rows)
    logits, features = whole.run(feeds)
    measured, reference = pruned.run(feeds)
    assert np.array_equal(measured, features)
    assert np.array_equal(reference, logits)
