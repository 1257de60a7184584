"""The files of a small but complete version, made without training or publishing."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from inference.engine import version_contents
from inference.model.config import Batching, InputDomain, ModelConfig, TrainingDataInfo
from inference.model.golden import Golden
from inference.model.request_tensors import TensorSpec
from inference.screening import calibration
from inference.screening.calibration import Calibration, ScoreThreshold
from inference.screening.detector import Detector, Disagreement, Verdict
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from tests.support.builders.models.onnx_models import FEATURES, Perceptron

Floats = npt.NDArray[np.float32]

_CLEAN_ROWS = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """A version of a perceptron: what its files say, before they are bytes."""

    perceptron: Perceptron
    config: ModelConfig
    detector: Detector
    golden: Golden

    @classmethod
    def of(cls, perceptron: Perceptron, name: str = "digits", **batching: int) -> "VersionFiles":
        rows = {"max_rows": 16, "delay_us": 0, "queue_rows": 256} | batching
        config = ModelConfig(
            name=name,
            description="a perceptron with random weights",
            intended_use="tests",
            data=TrainingDataInfo("random", "CC0-1.0"),
            input=TensorSpec("x", "FP32", (-1, perceptron.inputs)),
            output=TensorSpec("logits", "FP32", (-1, perceptron.classes)),
            labels=tuple(f"class {number}" for number in range(perceptron.classes)),
            domain=InputDomain(0.0, 1.0),
            eps=0.1,
            batching=Batching(**rows),
        )
        x = clean_rows(perceptron, 24)
        golden = Golden(x, int8_logits(perceptron, x))
        return cls(perceptron, config, margin_detector(perceptron), golden)

    def encode(self, **replaced: bytes) -> dict[str, bytes]:
        """The files by path; `replaced` gives other bytes, by the path with `_` for each dot."""
        files = {
            version_contents.MODEL: self.config.encode(),
            version_contents.INT8: self.perceptron.int8(),
            version_contents.FP32: self.perceptron.serving(),
            version_contents.RESPONSE: self.perceptron.response(),
            version_contents.DETECTOR: self.detector.encode(),
            version_contents.GOLDEN: self.golden.encode(),
        }
        other = {name.replace("_", "."): data for name, data in replaced.items()}
        assert other.keys() <= files.keys()
        return files | other

    def with_golden_off_by(self, distance: float) -> "VersionFiles":
        golden = Golden(self.golden.x, self.golden.logits + np.float32(distance))
        return replace(self, golden=golden)


def clean_rows(perceptron: Perceptron, count: int, seed: int = 3) -> Floats:
    """Rows inside the domain, [count, inputs]."""
    return np.random.default_rng(seed).random((count, perceptron.inputs), np.float32)


def int8_logits(perceptron: Perceptron, x: Floats) -> Floats:
    """The INT8 graph's answer to all rows at once."""
    session = onnxruntime.InferenceSession(perceptron.int8(), providers=["CPUExecutionProvider"])
    logits: Floats = session.run(["logits"], {"x": x})[0]
    return logits


def margin_detector(perceptron: Perceptron) -> Detector:
    """A detector that looks at the margin alone: the smaller, the higher the score."""
    margins = margin(perceptron.logits(clean_rows(perceptron, _CLEAN_ROWS)))
    center, spread = float(margins.mean()), float(margins.std())
    scores = np.sort((center - margins.astype(np.float64)) / spread)
    limits = [_limit(scores, bound) for bound in (0.01, 0.05)]
    none, quadratic = (0.0,) * FEATURES, (0.0,) * (FEATURES * (FEATURES + 1) // 2)
    tail = ScoreTail(0.0, 1.0)
    return Detector(
        FeatureScaling((center, 0.0, 0.0, 0.0), (spread, 1.0, 1.0, 1.0), 100.0),
        ScoringWeights(0.0, none, quadratic, tail),
        ScoringWeights(0.0, (-1.0, 0.0, 0.0, 0.0), quadratic, tail),
        Calibration(tuple(scores.tolist()), _CONFIDENCE, limits[0], limits[1]),
        ("random",),
    )


def margin(logits: Floats) -> npt.NDArray[np.float32]:
    """The lead of the largest logit over the next, [n]."""
    ordered = np.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def _limit(scores: npt.NDArray[np.floating[Any]], bound: float) -> ScoreThreshold:
    rank = calibration.conformal_rank(len(scores), bound, _CONFIDENCE)
    return ScoreThreshold(bound, rank, float(scores[-rank]))


def compared(detector: Detector, counts_for: Disagreement = Verdict.ADVERSARIAL) -> Detector:
    """The same where answers are compared with the float32 model's."""
    return replace(detector, disagreement=counts_for)


def apart_rows(perceptron: Perceptron, count: int) -> Floats:
    """Rows [count, inputs] on which the INT8 graph answers otherwise than the float32 one."""
    x = clean_rows(perceptron, 20_000, seed=17)
    found = int8_logits(perceptron, x).argmax(axis=1) != perceptron.logits(x).argmax(axis=1)
    assert found.sum() >= count
    return x[found][:count]
