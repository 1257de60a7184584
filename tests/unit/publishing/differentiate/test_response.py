"""The response graph of an ONNX model: its step is CleverHans', its features are training's."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

from inference.runtime import response_contract
from inference.runtime.session import Session
from inference.screening.gradient_attacks import feeds
from publishing.differentiate import (
    NEIGHBOURS,
    Answer,
    MeasuredGraph,
    ReferenceSize,
    Units,
    class_points,
    reference_layers,
    response_graph,
)
from training.export.classifier import export_response
from training.export.reference import CleanReference

EPS = 0.05


class Attention(torch.nn.Module):
    """Attention over the rows of an image, of plain operators."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.parts = torch.nn.Linear(8, 24)
        self.last = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.parts(self.norm(x)).chunk(3, -1)
        mixed = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v
        return self.last(torch.nn.functional.gelu(x + mixed).mean(1))


class Residual(torch.nn.Module):
    """Two convolutions around a shortcut, batch norms and pools."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 6, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(6)
        self.second = torch.nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.last = torch.nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.first(x)))
        h = torch.nn.functional.max_pool2d(h + torch.relu(self.second(h)), 2)
        return self.last(h.mean((2, 3)))


def dense() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(12, 20),
        torch.nn.ReLU(),
        torch.nn.Linear(20, 16),
        torch.nn.Tanh(),
        torch.nn.Linear(16, 4),
    )


KINDS = {
    "dense": (dense, (12,)),
    "residual": (Residual, (1, 8, 8)),
    "attention": (Attention, (5, 8)),
}


def exported(module: torch.nn.Module, row: tuple[int, ...]) -> onnx.ModelProto:
    """As anyone exports it: by torch.onnx.export, with a free first dimension."""
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (torch.rand(5, *row),),
            dynamo=True,
            input_names=["x"],
            output_names=["answer"],
            dynamic_shapes=({0: rows},),
            opset_version=20,
            verbose=False,
        )
    out = io.BytesIO()
    onnx.save(program.model_proto, out)
    return onnx.load_model_from_string(out.getvalue())


class Subject:
    """A network of some kind, its rows, and its response graph made from ONNX alone."""

    def __init__(self, kind: str, units: Units | None = None) -> None:
        torch.manual_seed(3)
        make, self.row = KINDS[kind]
        self.module = make().eval()
        for each in self.module.parameters():
            each.requires_grad_(False)
        self.x = np.random.default_rng(4).random((300, *self.row), np.float32)
        self.y = np.arange(300) % 4
        self.graph = MeasuredGraph.of(exported(self.module, self.row), "x", self.x)
        layers = reference_layers(self.graph, self.x, self.y, 4)
        self.response = response_graph(self.graph, Answer("answer", "answer", 4), layers, units)
        self.session = Session.open(self.response, response_contract.OUTPUTS)

    def run(self, labels: np.ndarray | None = None) -> list[np.ndarray]:
        given = feeds(self.x[:40], EPS, 0.0, 1.0, labels)
        return self.session.run(given)


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(request.param)


def test_it_meets_the_contract_and_answers_as_the_model(subject: Subject) -> None:
    shape = response_contract.check_response_graph(subject.response, subject.row, 4)
    logits, _, features = subject.run()
    assert features.shape == (40, shape.features)
    expected = subject.module(torch.from_numpy(subject.x[:40])).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labelled", [False, True])
def test_its_step_is_that_of_cleverhans(subject: Subject, labelled: bool) -> None:
    x = torch.from_numpy(subject.x[:40])
    labels = torch.arange(40) % 4 if labelled else None
    expected = fast_gradient_method(
        subject.module, x, EPS, np.inf, clip_min=0.0, clip_max=1.0, y=labels
    )
    moved = subject.run(None if labels is None else labels.numpy())[1]
    # A slope of zero to the last bit may round to either sign.
    same = np.isclose(moved, expected.detach().numpy(), atol=1e-6)
    assert same.mean() > 0.9999


@pytest.mark.slow
def test_its_features_are_those_of_a_model_that_is_trained_here() -> None:
    subject = Subject("dense")
    features = subject.run()[2]
    reference = CleanReference.of_rows(subject.module, subject.x, subject.y)
    ours = Session.open(
        export_response(subject.module, subject.row, reference), response_contract.OUTPUTS
    )
    expected = ours.run(feeds(subject.x[:40], EPS, 0.0, 1.0))[2]
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=5e-3, atol=5e-3)


def test_with_units_a_step_is_a_share_of_each_columns_range() -> None:
    low, span = np.full(12, -2, np.float32), np.linspace(0.5, 40, 12, dtype=np.float32)
    subject = Subject("dense", Units(low, span))
    moved = subject.run()[1]
    steps = np.abs(moved - subject.x[:40]) / span
    inside = (moved > low) & (moved < low + span)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(steps[inside], EPS, rtol=1e-3)


@pytest.mark.parametrize(
    ("width", "classes", "components", "kept"),
    [(12, 4, 40, 256), (64, 10, 40, 256), (784, 10, 100, 256), (784, 65, 40, 64)],
)
def test_wide_rows_of_few_classes_are_described_more_closely(
    width: int, classes: int, components: int, kept: int
) -> None:
    assert ReferenceSize.of_input(width, classes) == ReferenceSize(components, kept)


def test_a_rare_class_takes_no_points_from_the_others() -> None:
    z = np.random.default_rng(0).normal(size=(103, 3))
    y = np.array([0] * 80 + [1] * 20 + [2] * 3)
    points = class_points(z, y, 3, 64).reshape(3, -1, 3)
    assert np.array_equal(points[0], z[:64])
    assert np.array_equal(points[1, :20], z[80:100])
    assert np.array_equal(points[2, :NEIGHBOURS], z[[100, 101, 102, 100, 101]])
    # The padding is no row's nearest point.
    ranked = np.sort(((points - z[0]) ** 2).sum(axis=2), axis=1)
    assert (ranked[:, :NEIGHBOURS] < 1e3).all()
    assert (points[1, 20:] ** 2).sum(axis=1).min() > 1e20
    assert np.isfinite((points**2).sum(axis=2).astype(np.float32)).all()
