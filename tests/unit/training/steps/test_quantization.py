"""Quantization in training: what comes out serves in ONNX Runtime as integers."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from training.export.classifier import export_serving
from training.models.encoder import EncoderSize, TextClassifier
from training.models.students import Perceptron, accuracy
from training.recipe.sections import TRAIN, RecipeStep
from training.steps import quantization
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import LabelLoss, TrainingBatch
from training.steps.teachers import fit_head

pytestmark = pytest.mark.slow

X = torch.rand(320, 12, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > X[:, 1]).long()
STEP = RecipeStep(TRAIN, epochs=8, batch=32, learning_rate=0.01)
OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1


def served(model: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, OPTIONS, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, feeds)[0]
    return logits


def trained() -> Perceptron:
    torch.manual_seed(1)
    net = Perceptron(12, 32, 3, 2)
    descend(net, LabelLoss(), TaughtRows(TrainingBatch(X, Y)), STEP, 1)
    return net


def test_weights_trained_with_rounding_go_back_and_serve() -> None:
    net = trained()
    before = net.head.weight.detach().clone()
    rounded = quantization.prepare(net, X, 4)
    descend(rounded, LabelLoss(), TaughtRows(TrainingBatch(X, Y)), STEP, 2)
    assert torch.equal(net.head.weight, before)
    quantization.take_weights(net, rounded)
    assert not torch.equal(net.head.weight, before)
    assert accuracy(net, X, Y) > 0.9
    export_serving(net.eval(), (12,))


def test_the_int8_graph_rounds_to_so_many_levels_and_agrees() -> None:
    net = trained()
    for bits in (8, 4):
        rounded = quantization.prepare(net, X, bits)
        descend(rounded, LabelLoss(), TaughtRows(TrainingBatch(X, Y)), STEP, 2)
        model = quantization.to_onnx(rounded, net, X)
        graph = onnx.load_from_string(model).graph
        operators = Counter(node.op_type for node in graph.node)
        assert operators["QuantizeLinear"] >= 3
        assert operators["DequantizeLinear"] >= 6
        weights = [
            onnx.numpy_helper.to_array(tensor)
            for tensor in graph.initializer
            if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.INT8
        ]
        assert len(weights) >= 3
        levels = 2 ** (bits - 1)
        assert all(-levels <= each.min() and each.max() < levels for each in weights)
        for rows in (1, 7):
            logits = served(model, {"x": X[:rows].numpy()})
            assert logits.shape == (rows, 2)
        right = served(model, {"x": X.numpy()}).argmax(1) == Y.numpy()
        assert right.mean() > 0.9


def test_asking_rows_moves_no_range_outside_of_training() -> None:
    rounded = quantization.prepare(trained(), X, 8)
    descend(rounded, LabelLoss(), TaughtRows(TrainingBatch(X, Y)), RecipeStep(TRAIN, epochs=1), 1)
    before = {name: value.clone() for name, value in rounded.state_dict().items()}
    accuracy(rounded, 9 * X, Y)
    after = rounded.state_dict()
    changed = [
        name
        for name, value in before.items()
        if not torch.equal(value, after[name]) and not name.endswith("_enabled")
    ]
    assert changed == []


def test_a_text_student_is_quantized_too() -> None:
    torch.manual_seed(1)
    net = TextClassifier(EncoderSize(50, 32, 16, 32, 1, 2), 2)
    rows = torch.randint(0, 50, (64, 12))
    rows[::2, 8:] = -1
    y = (rows[:, 0] > 24).long()
    rounded = quantization.prepare(net, rows, 8)
    descend(
        rounded,
        LabelLoss(),
        TaughtRows(TrainingBatch(rows, y)),
        RecipeStep(TRAIN, epochs=1, batch=16),
        1,
    )
    model = quantization.to_onnx(rounded, net, rows)
    feeds = {
        "input_ids": rows[:3, :5].clamp(min=0).numpy(),
        "attention_mask": np.ones((3, 5), np.int64),
    }
    assert served(model, feeds).shape == (3, 2)


def test_a_feature_that_never_varies_gets_no_large_weight() -> None:
    torch.manual_seed(1)
    y = torch.arange(400) % 2
    vectors = 0.2 * torch.randn(400, 24) + 0.1 * y[:, None]
    # As MiniLM's: what varies is the last bits of float32.
    vectors[:, 7] = 0.9 + 1e-8 * torch.randn(400) + 1e-7 * y
    weight, bias = fit_head(vectors, y, 2)
    assert not weight[:, 7].any()
    assert ((vectors @ weight.T + bias).argmax(1) == y).float().mean() > 0.8
