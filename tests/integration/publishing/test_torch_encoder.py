"""A transformer encoder of torch's own layers, as either of torch's exporters writes it."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from inference.model.decisions import CLASSES
from inference.runtime.session import Session
from publishing.differentiate.backward import gradient
from publishing.differentiate.graphs import Emitter, MeasuredGraph
from publishing.ready.normal_form import normal_model
from sealgate.cli.main import main

pytestmark = pytest.mark.slow

STEPS, WIDTH, INNER, LABELS = 8, 4, 16, 3
ROWS = np.random.default_rng(0).normal(size=(240, STEPS, WIDTH)).astype(np.float32)


class Encoder(torch.nn.Module):
    """Sequences [n, 8, 4] to logits, with a learned token for the answer."""

    def __init__(self, rows_first: bool, norm_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows_first = rows_first
        self.entering = torch.nn.Linear(WIDTH, INNER)
        self.token = torch.nn.Parameter(torch.randn(1, 1, INNER))
        layer = torch.nn.TransformerEncoderLayer(
            INNER, 2, 32, batch_first=rows_first, norm_first=norm_first, activation="gelu"
        )
        self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.leaving = torch.nn.Linear(INNER, LABELS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.cat([self.token.expand(x.shape[0], -1, -1), self.entering(x)], 1)
        if not self.rows_first:
            inner = self.layers(inner.transpose(0, 1)).transpose(0, 1)
        else:
            inner = self.layers(inner)
        logits: torch.Tensor = self.leaving(inner[:, 0])
        return logits


def exported(module: torch.nn.Module, dynamo: bool) -> bytes:
    out, rows = io.BytesIO(), (torch.from_numpy(ROWS[:2]),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("rows")},)
            program = torch.onnx.export(
                module, rows, dynamo=True, dynamic_shapes=shapes, verbose=False
            )
            onnx.save(program.model_proto, out)
        else:
            names = {"input_names": ["x"], "output_names": ["scores"]}
            torch.onnx.export(
                module, rows, out, dynamo=False, dynamic_axes={"x": {0: "rows"}}, **names
            )
    return out.getvalue()


@pytest.mark.parametrize("dynamo", [False, True], ids=["legacy", "dynamo"])
@pytest.mark.parametrize("rows_first", [False, True], ids=["steps-first", "rows-first"])
@pytest.mark.parametrize("norm_first", [False, True], ids=["norm-last", "norm-first"])
def test_its_gradient_is_torchs(dynamo: bool, rows_first: bool, norm_first: bool) -> None:
    module = Encoder(rows_first, norm_first).eval()
    found = normal_model(exported(module, dynamo), ROWS, None, CLASSES)
    emitter = Emitter("back")
    graph = MeasuredGraph.of(found.model, found.input, ROWS[:8])
    name = gradient(emitter, graph, found.output, "seed")
    model = found.model
    model.graph.node.extend(emitter.nodes)
    model.graph.initializer.extend(emitter.initializers)
    model.graph.input.append(helper.make_tensor_value_info("seed", TensorProto.FLOAT, None))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = Session.open(model.SerializeToString(), [found.output, name])
    seed = np.random.default_rng(1).normal(size=(5, LABELS)).astype(np.float32)
    answers, slopes = session.run({found.input: ROWS[:5], "seed": seed})
    x = torch.from_numpy(ROWS[:5]).requires_grad_(True)
    logits = module(x)
    (logits * torch.from_numpy(seed)).sum().backward()
    assert x.grad is not None
    expected = x.grad.numpy()
    np.testing.assert_allclose(answers, logits.detach().numpy(), atol=1e-5)
    assert np.abs(slopes - expected).max() / np.abs(expected).max() < 1e-4


@pytest.mark.parametrize("dynamo", [False, True], ids=["legacy", "dynamo"])
def test_it_can_be_published(dynamo: bool, tmp_path: Path) -> None:
    module = Encoder(True, False).eval()
    (tmp_path / "encoder.onnx").write_bytes(exported(module, dynamo))
    with torch.no_grad():
        y = module(torch.from_numpy(ROWS)).argmax(1).numpy()
    save_file({"x": ROWS, "y": y}, tmp_path / "rows.safetensors")
    words = [str(tmp_path / "encoder.onnx"), "--data", str(tmp_path / "rows.safetensors")]
    told = CliRunner().invoke(main, ["model", "check", *words, "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert "screened by the gradient" in found["takes"]
    assert found["float32_accuracy"] == 1


def test_weights_that_lie_beside_the_file_are_read(tmp_path: Path) -> None:
    """As torch writes them unless told otherwise."""
    file, shapes = tmp_path / "encoder.onnx", ({0: torch.export.Dim("rows")},)
    module = Encoder(True, False).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = (torch.from_numpy(ROWS[:2]),)
        torch.onnx.export(
            module, rows, str(file), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    assert (tmp_path / "encoder.onnx.data").is_file()
    with torch.no_grad():
        y = module(torch.from_numpy(ROWS)).argmax(1).numpy()
    save_file({"x": ROWS, "y": y}, tmp_path / "rows.safetensors")
    words = [str(file), "--data", str(tmp_path / "rows.safetensors")]
    told = CliRunner().invoke(main, ["model", "check", *words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["float32_accuracy"] == 1
