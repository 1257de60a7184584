"""The rows of demo models that screening should not refuse, in `calm_rows.json`.

`python -m tests.support.builders.models.calm_rows` writes it. To find them a detector is fitted to
each of a model's folders, which takes ten seconds; tests wait for none of that.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from inference.model.config import ModelConfig
from publishing.attacks.probe import Probe
from publishing.calibration.detector_fit import fit
from publishing.worker_tasks.forward import ResponseGraph
from sealgate.trust.canonical import sha256

DEMO = Path(__file__).parents[4] / "demo"
MODELS = ("breast-cancer", "digits")
FILE = Path(__file__).with_suffix(".json")
FAR = 2.0
"""By how much a row of them scores at least below the threshold."""


@functools.cache
def calm_rows(model: str) -> tuple[np.ndarray, np.ndarray]:
    """Twenty held-out rows [20, features] of a demo model, and their classes [20]."""
    places = written()[model]["rows"]
    data = load_file(_data(model))
    return data["x_test"].astype(np.float32)[places], data["y_test"][places]


def found_anew(model: str) -> dict[str, Any]:
    """A model's content of the file: the digest of the detector that the rows were found with, and
    their places, of those that score furthest below the threshold.

    Of the half that the model's folders are surest of: there the INT8 and the float32 answer agree.
    """
    sureness, scores = measured(model)
    sure = np.argsort(-sureness, kind="stable")[: len(scores) // 2]
    order = sure[np.argsort(scores[sure], kind="stable")[:20]]
    assert scores[order].max() < -FAR, model
    return {"of": digest(model), "rows": order.tolist()}


def measured(model: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each row: how sure the model's folders are of it at least, and by how much its score is at
    most above a folder's own threshold of `suspect`.
    """
    data = load_file(_data(model))
    inputs = data["x_test"].astype(np.float32)
    each = (_measured(folder, data, inputs) for folder in _folders(model))
    sureness, scores = zip(*each, strict=True)
    return np.min(sureness, axis=0), np.max(scores, axis=0)


def digest(model: str) -> str:
    """Of a model's data and files."""
    files = [
        _data(model),
        *(folder / name for folder in _folders(model) for name in ("model.json", "response.onnx")),
    ]
    return sha256(b"".join(sha256(file.read_bytes()).encode() for file in files))


@functools.cache
def written() -> dict[str, Any]:
    """The file's content, by the model's name."""
    return dict(json.loads(FILE.read_text()))


def _data(model: str) -> Path:
    return DEMO / "data" / f"{model}.safetensors"


def _folders(model: str) -> list[Path]:
    return sorted((DEMO / "models").glob(f"{model}*"))


def _measured(
    folder: Path, data: dict[str, np.ndarray], inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By a detector fitted as publishing fits it, to the model without a watermark."""
    config = ModelConfig.decode((folder / "model.json").read_bytes())
    probe = Probe.of(ResponseGraph.of((folder / "response.onnx").read_bytes()), config)
    slices = (data[name].astype(np.float32) for name in ("x_fit", "x_calibration"))
    detector = fit(probe, *slices, np.random.default_rng(0))
    logits, features = probe.measure(inputs)
    best = np.sort(logits, axis=1)
    return best[:, -1] - best[:, -2], detector.scores(features) - detector.suspect_threshold


if __name__ == "__main__":
    FILE.write_text(json.dumps({model: found_anew(model) for model in MODELS}, indent=1) + "\n")
