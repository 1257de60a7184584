"""The files of a version: marked, quantized, with golden answers and a detector of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from inference import version
from inference.model_config import ModelConfig
from inference.screening.contract import check_same_forward
from inference.screening.detector import Detector
from publishing.calibrate import fit_detector
from publishing.data import Dataset
from publishing.forward import Classifier, ResponseGraph, accuracy
from publishing.golden import golden_report, run_golden
from publishing.graphs import parse_model
from publishing.quantize import quantize
from publishing.screening_report import screening_report
from publishing.source import SourceFolder
from publishing.watermark.detection import Detection, detect
from publishing.watermark.embedding import Marked, embed
from publishing.watermark.key import WatermarkKey
from publishing.watermark.weights import read_carriers
from sealgate.reasons import Reason, Refusal


class Progress(Protocol):
    """Who wants to know how far it is."""

    def __call__(self, step: str, detail: str) -> None:
        """Is told of each step, once it is done, and what came of it."""
        ...


class Steps:
    """Tells of each step, and keeps how many seconds it took by the clock."""

    def __init__(self, clock: Callable[[], datetime], progress: Progress) -> None:
        self._clock = clock
        self._progress = progress
        self._last = clock()
        self.seconds: dict[str, float] = {}

    def done(self, step: str, detail: str) -> None:
        now = self._clock()
        self.seconds[step] = (now - self._last).total_seconds()
        self._last = now
        self._progress(step, detail)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured. Accuracies are shares of the test slice, which nothing was fitted on."""

    watermark_fp32: Detection
    watermark_int8: Detection
    amplitude: float
    accuracy_source: float
    accuracy_fp32: float
    accuracy_int8: float
    golden: Mapping[str, Any]
    screening: Mapping[str, Any]


def make_files(
    source: SourceFolder, data: Dataset, key: WatermarkKey, seed: int, steps: Steps
) -> tuple[dict[str, bytes], Report]:
    """The files by name, and the report.

    Raises: WATERMARK_CAPACITY, WATERMARK_FAINT, GRAPH_MISMATCH, GOLDEN_MISMATCH,
    CALIBRATION_TOO_SMALL.
    """
    config = source.config
    for_golden, for_screening = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    marked = _mark(source, data, key)
    steps.done("mark", f"z = {marked.detection.z:.1f} at {marked.amplitude:g} of each spread")
    int8 = quantize(marked.serving, config.input.name, data.fit.x)
    read = _read_mark(int8, key)
    steps.done("quantize", f"the INT8 file alone reads z = {read.z:.1f}")
    golden = run_golden(Classifier.of(int8, config), data.test, for_golden)
    steps.done("golden", f"{len(golden.x)} answers, the same alone and in a batch")
    detector, screening = _screening(marked.response, config, data, for_screening)
    steps.done("calibrate", f"{screening['clean']['flagged']:.1%} of clean test rows flagged")
    files = {
        version.MODEL: config.encode(),
        version.INT8: int8,
        version.FP32: marked.serving,
        version.RESPONSE: marked.response,
        version.DETECTOR: detector.encode(),
        version.GOLDEN: golden.encode(),
    }
    report = Report(
        watermark_fp32=marked.detection,
        watermark_int8=read,
        amplitude=marked.amplitude,
        accuracy_source=_accuracy(source.serving, config, data),
        accuracy_fp32=_accuracy(marked.serving, config, data),
        accuracy_int8=_accuracy(int8, config, data),
        golden=golden_report(golden, Classifier.of(marked.serving, config).logits(golden.x)),
        screening=screening,
    )
    return files, report


def _mark(source: SourceFolder, data: Dataset, key: WatermarkKey) -> Marked:
    """Marks both graphs, and checks on the test slice that they still compute the same logits."""
    marked = embed(source.serving, source.response, key)
    _check_mark(marked.detection, "fp32")
    check_same_forward(
        Classifier.of(marked.serving, source.config).logits(data.test.x),
        ResponseGraph.of(marked.response).logits(data.test.x, source.config),
    )
    return marked


def _read_mark(int8: bytes, key: WatermarkKey) -> Detection:
    read = detect([carrier.values for carrier in read_carriers(parse_model(int8))], key)
    _check_mark(read, "INT8")
    return read


def _check_mark(detection: Detection, form: str) -> None:
    if not detection.found:
        raise Refusal(Reason.WATERMARK_FAINT, f"{form} reads z = {detection.z:.1f}")


def _screening(
    response: bytes, config: ModelConfig, data: Dataset, rng: np.random.Generator
) -> tuple[Detector, dict[str, Any]]:
    graph = ResponseGraph.of(response)
    detector = fit_detector(graph, data.fit.x, data.calibration.x, config.domain, config.eps, rng)
    return detector, screening_report(graph, detector, data.test.x, config.domain, config.eps, rng)


def _accuracy(graph: bytes, config: ModelConfig, data: Dataset) -> float:
    return accuracy(Classifier.of(graph, config).logits(data.test.x), data.test.y)
