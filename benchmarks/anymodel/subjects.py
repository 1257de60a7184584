"""Models as their makers' tools write them, with the rows on which they are governed."""

import gzip
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import onnx
import skl2onnx
import torch
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
FASHION = Path("/usr/share/datasets/fashion-mnist")
GRADIENT, TREES = "gradient", "trees"
_IMAGES, _SIDE, _HEADER, _LABEL_HEADER = 7000, 32, 16, 8
_TRAINED = 5000


@dataclass(frozen=True, slots=True, eq=False)
class ReadyModel:
    """An ONNX file with rows x and classes or numbers y that it was not trained on. `answers` is
    the model itself, `module` the network of those that are torch's, `native` XGBoost's own file,
    `options` are for publishing.
    """

    name: str
    kind: str
    route: str
    onnx: bytes
    x: Floats
    y: Labels | Floats
    answers: Callable[[Floats], Floats]
    module: torch.nn.Module | None = None
    options: tuple[str, ...] = ()
    native: bytes = b""


class Pixels(torch.nn.Module):
    """A network of transformers' kind: images to logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x).logits
        return logits


def _digits() -> tuple[Floats, Labels]:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y


def _digit_images() -> tuple[Floats, Labels]:
    x, y = _digits()
    return x.reshape(-1, 1, 8, 8), y


def _dense() -> ReadyModel:
    return _network("mlp", "MLP", _mlp(), *_digits(), epochs=30)


def _convolutions() -> ReadyModel:
    return _network("cnn", "CNN", _cnn(), *_digit_images(), epochs=15)


def _resnet() -> ReadyModel:
    config = ResNetConfig(
        num_channels=1,
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=10,
    )
    network = Pixels(ResNetForImageClassification(config))
    return _network("resnet-18", "residual CNN", network, *fashion(), epochs=2)


def _mobilenet() -> ReadyModel:
    config = MobileNetV2Config(
        num_channels=1, image_size=_SIDE, depth_multiplier=0.35, num_labels=10
    )
    network = Pixels(MobileNetV2ForImageClassification(config))
    return _network("mobilenet-v2", "mobile CNN", network, *fashion(), epochs=3)


def _transformer() -> ReadyModel:
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=8,
        patch_size=2,
        num_channels=1,
        num_labels=10,
        attn_implementation="eager",
    )
    network = Pixels(ViTForImageClassification(config))
    return _network("vit", "transformer", network, *_digit_images(), epochs=25)


def _tumours() -> tuple[tuple[Floats, Labels], tuple[Floats, Labels]]:
    """Breast cancer: the rows to train on, and the others."""
    x, y = _shuffled(*load_breast_cancer(return_X_y=True))
    third = len(x) // 3
    return (x[:third], y[:third]), (x[third:], y[third:])


def _pipeline(name: str, kind: str, last: Any) -> ReadyModel:
    fit, rest = _tumours()
    model = make_pipeline(StandardScaler(), last).fit(*fit)
    file = skl2onnx.to_onnx(model, fit[0][:1]).SerializeToString()
    return ReadyModel(name, kind, GRADIENT, file, *rest, model.predict_proba)


def _forest() -> ReadyModel:
    fit, rest = _tumours()
    model = RandomForestClassifier(100, random_state=0).fit(*fit)
    file = skl2onnx.to_onnx(model, fit[0][:1]).SerializeToString()
    return ReadyModel("forest", "random forest", TREES, file, *rest, model.predict_proba)


def _xgboost() -> ReadyModel:
    fit, rest = _tumours()
    model = xgboost.XGBClassifier(n_estimators=100, max_depth=4).fit(*fit)
    file = convert_xgboost(model, initial_types=_entering(fit[0])).SerializeToString()
    native = bytes(model.get_booster().save_raw("json"))
    return ReadyModel("xgboost", "XGBoost", TREES, file, *rest, model.predict_proba, native=native)


def _lightgbm() -> ReadyModel:
    fit, rest = _tumours()
    model = lightgbm.LGBMClassifier(n_estimators=100, verbose=-1).fit(*fit)
    entering = _entering(fit[0])
    file = convert_lightgbm(model, initial_types=entering, zipmap=False).SerializeToString()
    return ReadyModel("lightgbm", "LightGBM", TREES, file, *rest, model.predict_proba)


def _regressor() -> ReadyModel:
    """A gradient-boosted forest that predicts how a disease goes on."""
    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order].astype(np.float32)
    model = GradientBoostingRegressor(n_estimators=60, random_state=0).fit(x[:150], y[:150])
    file = skl2onnx.to_onnx(model, x[:1]).SerializeToString()

    def answers(given: Floats) -> Floats:
        return np.asarray(model.predict(given), np.float32).reshape(-1, 1)

    return ReadyModel("regressor", "regressor", TREES, file, x[150:], y[150:], answers)


def _entering(x: Floats) -> list[tuple[str, FloatTensorType]]:
    return [("input", FloatTensorType([None, x.shape[1]]))]


def _many_classes() -> ReadyModel:
    """XGBoost on digits: ten classes, columns of whole numbers."""
    x, y = _shuffled(*load_digits(return_X_y=True))
    fit, rest = (x[:900], y[:900]), (x[900:], y[900:])
    boosted = xgboost.XGBClassifier(n_estimators=40, max_depth=4).fit(*fit)
    file = convert_xgboost(boosted, initial_types=_entering(x)).SerializeToString()
    return ReadyModel("xgboost-digits", "XGBoost", TREES, file, *rest, boosted.predict_proba)


def fashion() -> tuple[Floats, Labels]:
    """Images [n, 1, 32, 32] of Fashion-MNIST, with a border of zeros, and their classes."""
    raw = gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes())
    names = gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes())
    flat = np.frombuffer(raw, np.uint8, offset=_HEADER).reshape(-1, 1, 28, 28)[:_IMAGES]
    images = np.pad(flat / np.float32(255), ((0, 0), (0, 0), (2, 2), (2, 2)))
    labels = np.frombuffer(names, np.uint8, offset=_LABEL_HEADER)[:_IMAGES]
    return images.astype(np.float32), labels.astype(np.int64)


def _shuffled(x: Any, y: Any) -> tuple[Floats, Labels]:
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].astype(np.float32), y[order].astype(np.int64)


def _mlp() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(64, 192),
        torch.nn.ReLU(),
        torch.nn.Linear(192, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )


def _cnn() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1),
        torch.nn.BatchNorm2d(32),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 10),
    )


def _network(
    name: str, kind: str, module: torch.nn.Module, x: Floats, y: Labels, epochs: int
) -> ReadyModel:
    """Trained on the first rows in random order, and exported as torch does."""
    torch.manual_seed(0)
    x, y = _shuffled(x, y)
    count = _TRAINED if len(x) == _IMAGES else min(_TRAINED, len(x) // 3)
    rows = torch.from_numpy(x[:count]), torch.from_numpy(y[:count])
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    module.train()
    for _ in range(epochs):
        for batch in torch.randperm(count).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(module(rows[0][batch]), rows[1][batch]).backward()
            optimizer.step()
    module.eval()
    for each in module.parameters():
        each.requires_grad_(False)
    # A third of a model's rows suffices: a network of images is attacked for minutes.
    left = slice(count, count + 900)

    def answers(given: Floats) -> Floats:
        found: Floats = module(torch.from_numpy(given)).numpy()
        return found

    pixels = ("--domain", "0,1")
    file = _exported(module, x[:5])
    return ReadyModel(name, kind, GRADIENT, file, x[left], y[left], answers, module, pixels)


def _exported(module: torch.nn.Module, x: Floats) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (torch.from_numpy(x),),
            dynamo=True,
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            opset_version=20,
            verbose=False,
        )
    out = io.BytesIO()
    onnx.save(program.model_proto, out)
    return out.getvalue()


MODELS: Mapping[str, Callable[[], ReadyModel]] = {
    "mlp": _dense,
    "cnn": _convolutions,
    "resnet-18": _resnet,
    "mobilenet-v2": _mobilenet,
    "vit": _transformer,
    "logistic": lambda: _pipeline("logistic", "linear", LogisticRegression()),
    "dense": lambda: _pipeline(
        "dense", "pipeline", MLPClassifier((128, 64), max_iter=300, random_state=0)
    ),
    "components": lambda: _pipeline(
        "components", "pipeline", make_pipeline(PCA(10), LogisticRegression())
    ),
    "forest": _forest,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "xgboost-digits": _many_classes,
    "regressor": _regressor,
}
"""The functions that train each model and write its file."""
