"""Graphs from torch: the same numbers, and each parameter once, under its own name."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from inference.runtime import response_contract
from inference.screening import gradient_attacks
from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.watermark import MARK_CAPACITY
from publishing.watermark.carrier_weights import read_carriers
from tests.support.builders.models.demo_models import DemoModel, opened
from training.export.classifier import OPSET, export_response, export_serving

pytestmark = pytest.mark.slow


class Convolutions(nn.Module):
    """A network whose layers need our own decompositions, beside norms and activations."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2)
        self.pool = nn.MaxPool2d(2)
        self.wide = nn.LayerNorm(32)
        self.last = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.silu(self.norm(self.first(x)))
        hidden = self.pool(torch.tanh(self.second(hidden))).flatten(1)
        answer: torch.Tensor = self.last(nn.functional.gelu(self.wide(hidden)))
        return answer


def frozen(module: nn.Module) -> nn.Module:
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def convolutions() -> tuple[nn.Module, tuple[int, ...]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = Convolutions()
        for _ in range(3):
            module(torch.rand(32, 1, 8, 8))
    return frozen(module), (1, 8, 8)


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, bytes, bytes]:
    module, row = convolutions()
    return module, export_serving(module, row), export_response(module, row)


def gradient_step(module: nn.Module, x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """torch's own step, and where its gradient is large enough to have a sure sign."""
    start = torch.from_numpy(x).requires_grad_(True)
    logits = module(start)
    loss = nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
    (slope,) = torch.autograd.grad(loss, start)
    moved = (start + eps * slope.sign()).clamp(0, 1)
    sure = slope.abs() > 1e-6 * slope.abs().amax()
    return moved.detach().numpy(), sure.numpy()


@pytest.mark.parametrize("rows", [1, 2, 23, 64])
def test_a_convolutional_model_s_graphs_agree_with_torch(
    pair: tuple[nn.Module, bytes, bytes], rows: int
) -> None:
    module, serving, response = pair
    x = np.random.default_rng(rows).random((rows, 1, 8, 8), np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    (served,) = opened(serving).run(None, {"x": x})
    feeds = gradient_attacks.feeds(x, 0.07, 0, 1)
    logits, moved, features = opened(response).run(list(response_contract.OUTPUTS), feeds)
    assert np.abs(served - expected).max() <= 1e-5
    assert np.abs(logits - expected).max() <= 1e-5
    step, sure = gradient_step(module, x, 0.07)
    assert sure.mean() > 0.99
    assert np.abs(moved - step)[sure].max() <= 1e-5
    assert np.isfinite(features).all()


def test_features_do_not_depend_on_the_label_or_the_company(digits: DemoModel) -> None:
    x = digits.data["x_test"][:32]
    own = digits.session.run(["features"], gradient_attacks.feeds(x, 0.03, 0, 1))[0]
    labels = np.arange(32) % 10
    given = digits.session.run(["features"], gradient_attacks.feeds(x, 0.03, 0, 1, labels))[0]
    assert np.array_equal(own, given)
    alone = [
        digits.session.run(["features"], gradient_attacks.feeds(x[i : i + 1], 0.03, 0, 1))[0]
        for i in range(len(x))
    ]
    assert np.concatenate(alone) == pytest.approx(own, rel=1e-3, abs=1e-3)


def test_graphs_of_the_demo_agree_with_torch(demo: DemoModel) -> None:
    x = demo.data["x_test"]
    (served,) = opened(demo.serving).run(None, {"x": x})
    logits = demo.session.run(["logits"], gradient_attacks.feeds(x, 0.03, 0, 1))[0]
    expected = demo.module(torch.from_numpy(x)).numpy()
    assert np.abs(served - expected).max() <= 1e-5
    assert np.abs(logits - expected).max() <= 1e-5


def floats(graph: bytes) -> dict[str, onnx.TensorProto]:
    model = onnx.load_model_from_string(graph)
    assert [entry.version for entry in model.opset_import] == [OPSET]
    return {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims, dtype=int) > 4
    }


def test_each_parameter_is_there_once_under_its_own_name(
    pair: tuple[nn.Module, bytes, bytes],
) -> None:
    module, serving, response = pair
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    state.pop("norm.num_batches_tracked")
    # The response graph has one constant of its own besides: the numbers of the classes.
    for graph in (serving, response):
        assert set(floats(graph)) == set(state)
    response_contract.check_same_parameters(serving, response)


def test_the_demo_s_weights_can_carry_a_mark(demo: DemoModel) -> None:
    response_contract.check_same_parameters(demo.serving, demo.response)
    of_serving, of_response = (
        {each.name: each for each in read_carriers(parse_model(graph))}
        for graph in (demo.serving, demo.response)
    )
    # The response graph also holds screening's reference rows, which are no weights.
    assert set(of_serving) == set(of_response) <= {"first.weight", "second.weight", "last.weight"}
    assert {"first.weight", "second.weight"} <= set(of_serving)
    for name, carrier in of_serving.items():
        np.testing.assert_array_equal(carrier.values, of_response[name].values)
    assert sum(each.values.size for each in of_serving.values()) >= MARK_CAPACITY


def test_no_graph_tells_of_the_machine_that_made_it(demo: DemoModel) -> None:
    for graph in (demo.serving, demo.response):
        model = onnx.load_model_from_string(graph)
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert b"/" not in graph.replace(b"view_1/shape", b"").split(b"first.weight")[0]


def test_the_serving_graph_can_be_quantized(demo: DemoModel) -> None:
    int8 = quantize(demo.serving, demo.config.input.name, demo.data["x_fit"])
    x, y = demo.data["x_test"], demo.data["y_test"]
    before, after = (opened(g).run(None, {"x": x})[0].argmax(axis=1) for g in (demo.serving, int8))
    assert np.mean(before == after) >= 0.98
    assert np.mean(after == y) >= 0.95
    kinds = {node.op_type for node in onnx.load_model_from_string(int8).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_a_module_in_training_mode_is_not_exported() -> None:
    module, row = convolutions()
    with pytest.raises(ValueError, match="training mode"):
        export_serving(module.train(), row)
