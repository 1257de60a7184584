"""A version whose answers are compared with its float32 model, and rows for it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.runtime.settings import CpuSettings
from inference.screening.detector import Detector
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import (
    VersionFiles,
    apart_rows,
    clean_rows,
    compared,
    margin,
)

CPU = CpuSettings(cores=1)
MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL)
APART = apart_rows(MODEL, 12)
"""Rows on which INT8 and float32 disagree."""
_NEAR = clean_rows(MODEL, 300, seed=9)
SURE = _NEAR[np.argsort(-margin(MODEL.logits(_NEAR)))[:12]]
"""Rows that both answer alike, by the widest margins."""


def build(
    detector: Detector, files: Mapping[str, bytes] | None = None, **more: Any
) -> ReadyVersion:
    files = dict(files or FILES.encode()) | {version_contents.DETECTOR: detector.encode()}
    return ReadyVersion.build("sha256:" + "0" * 64, files, CPU, **more)


def asked_below(detector: Detector, margin: float) -> Detector:
    return replace(compared(detector, FLOAT32), least_margin=margin)
