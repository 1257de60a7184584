"""A described folder whose serving graph is of float64: it becomes one of float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from inference.model.config import ModelConfig
from inference.runtime.session import Session
from publishing.ready.description import ModelDescription, NormalForm
from publishing.ready.reading import read_source
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

X = np.random.default_rng(8).uniform(1, 9, (400, 5))
ROWS = X.astype(np.float32)
Y = (X.sum(axis=1) > 25).astype(np.int64)
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
INPUT, OUTPUT = "x", "p"


def pipeline() -> onnx.ModelProto:
    """With the described input and output alone, each of float64."""
    model = skl2onnx.to_onnx(PIPELINE, X[:1], options={"zipmap": False})
    graph = model.graph
    for node in graph.node:
        node.input[:] = [INPUT if each == graph.input[0].name else each for each in node.input]
        node.output[:] = [OUTPUT if each == "probabilities" else each for each in node.output]
    return ending(model)


def ending(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.input[:]
    del model.graph.output[:]
    for values, name, size in ((model.graph.input, INPUT, 5), (model.graph.output, OUTPUT, 2)):
        values.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", size]))
    return model


def unlike_in_float32() -> onnx.ModelProto:
    """Of which float32 loses what it answers: differences between large numbers."""
    nodes = [
        helper.make_node("Add", [INPUT, "large"], ["near"]),
        helper.make_node("Sub", ["near", "large"], ["far"]),
        helper.make_node("MatMul", ["far", "w"], [OUTPUT]),
    ]
    weights = [
        numpy_helper.from_array(np.array(1e9), "large"),
        numpy_helper.from_array(np.array([[-1.0, 1.0]] * 5), "w"),
    ]
    graph = helper.make_graph(nodes, "wide", [], [], weights)
    opset = [helper.make_opsetid("", 20)]
    return ending(helper.make_model(graph, opset_imports=opset, ir_version=9))


def read(folder: Path, model: onnx.ModelProto, screened: bool = True) -> SourceFolder:
    save_file({"x": ROWS, "y": Y}, folder / "rows.safetensors")
    data = Dataset.read(folder / "rows.safetensors")
    answers = PIPELINE.predict_proba(X).astype(np.float32)
    config: ModelConfig = ModelDescription("wide").config(
        NormalForm(INPUT, OUTPUT, 2), data, answers
    )
    (folder / "model.json").write_bytes(config.encode())
    (folder / "serving.onnx").write_bytes(model.SerializeToString())
    found = read_source(folder, data, None, Confinement(), screened=screened)
    assert replace(found.config, differences=config.differences) == config
    return found


@pytest.mark.parametrize("screened", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_answers_as_before_in_float32(tmp_path: Path, screened: bool) -> None:
    found = read(tmp_path, pipeline(), screened)
    (answers,) = Session.open(found.serving, [OUTPUT]).run({INPUT: ROWS})
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, PIPELINE.predict_proba(X), atol=1e-5)
    assert bool(found.response) is screened
    found.check()


@pytest.mark.parametrize("screened", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_that_answers_otherwise_in_float32_is_refused(tmp_path: Path, screened: bool) -> None:
    with refused(Reason.GRAPH_MISMATCH) as error:
        read(tmp_path, unlike_in_float32(), screened)
    assert "convert to float32 before the export" in error.value.detail


def test_one_of_float32_is_left_as_it_is(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.array([[-1, 1]] * 5, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [INPUT, "w"], [OUTPUT])], "narrow", [], [], [weights]
    )
    opset = [helper.make_opsetid("", 20)]
    model = ending(helper.make_model(graph, opset_imports=opset, ir_version=9))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    assert read(tmp_path, model).serving == model.SerializeToString()
