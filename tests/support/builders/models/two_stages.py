"""A version of a perceptron whose screening has two stages, made without publishing."""

from dataclasses import replace

import numpy as np

from inference.engine import version_contents
from inference.engine.graphs import open_tapped
from inference.screening.calibration import Calibration, ScoreThreshold
from inference.screening.detector import Detector
from inference.screening.first_stage import FEATURES, ClassProjections, FirstStage
from inference.screening.scoring import FeatureScaling, ScoreTail, Scoring, ScoringWeights
from publishing.calibration.served_rows import fit_readings
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

_ROWS, _READ = 480, 4000


def readings(model: Perceptron, files: VersionFiles) -> ClassProjections:
    """How the model's inputs lie, and its own vectors before its last layer."""
    tapped = open_tapped(model.int8(), model.serving(), files.config)
    found = fit_readings(tapped.run({"x": clean_rows(model, _READ)}))
    assert found is not None
    return found


def by_margin(read: ClassProjections, cut: float) -> FirstStage:
    """A stage whose score is the margin, with the sign turned."""
    none = (0.0,) * (FEATURES * (FEATURES + 1) // 2)
    still = ScoringWeights(0.0, (0.0,) * FEATURES, none, ScoreTail(0.0, 1.0))
    margin = replace(still, linear=(-1.0, *(0.0,) * (FEATURES - 1)))
    scaling = FeatureScaling((0.0,) * FEATURES, (1.0,) * FEATURES, 100.0)
    return FirstStage(read, Scoring(scaling, still, margin), cut)


def staged(detector: Detector, stage: FirstStage) -> Detector:
    """The detector with that stage, and with limits that nothing backs but their form."""
    scores = tuple((np.arange(_ROWS) / _ROWS).tolist())
    limits = Calibration(scores, 0.95, ScoreThreshold(0.01, 1, 3.0), ScoreThreshold(0.05, 1, 2.0))
    return replace(detector, calibration=limits, first=stage)


def two_stage_files(
    model: Perceptron, cut: float, size: int | None = None
) -> tuple[dict[str, bytes], Detector]:
    """The files of a version that lets rows with a margin of -cut or more pass at the first stage;
    with `size` its reading is of vectors so long.
    """
    files = VersionFiles.of(model)
    read = readings(model, files)
    if size is not None:
        count = len(read.vectors.basis) // read.vectors.size
        zeros = (0.0,) * size
        read = replace(read, vectors=replace(read.vectors, mean=zeros, basis=zeros * count))
    detector = staged(files.detector, by_margin(read, cut))
    return files.encode() | {version_contents.DETECTOR: detector.encode()}, detector
