"""Makes the files of a version: marked, quantized, with golden answers and a detector.

Marking is arithmetic on the weights with the publisher's watermark key, and is done here. Anything
that runs a graph is done by a worker, which has no key and is confined (`registry.sandbox`). The
form of the worker's answers is checked, and that the INT8 model carries the mark.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import numpy as np

from inference.model.config import ModelConfig
from inference.model.golden import Golden
from inference.screening.detector import Detector
from publishing.evidence.measurements import TrialMeasurements, VersionReport
from publishing.source.folder import Dataset, SourceFolder
from publishing.watermark.embedding import MarkedGraphs, embed
from publishing.watermark.key import Mark
from publishing.watermark.reading import MarkDetection, read_code, weights_of
from publishing.worker_tasks import trial
from publishing.worker_tasks.forward import Array as Rows
from publishing.worker_tasks.forward import golden_rows
from registry.formats.format_check import LARGEST_JSON
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError

# Beyond these, an answer of the worker is not one. An INT8 model is smaller than the float32 one,
# but for a note on each tensor.
_LARGEST_REPORT = 64 << 10
# The default for the accuracy that marking may cost, as a share of the test slice.
LARGEST_LOSS = 0.02
_HEADER = 1 << 20


class ProgressListener(Protocol):
    """Receives the progress of publishing."""

    def __call__(self, step: str, detail: str) -> None:
        """Called after each step with its result."""
        ...


class StepTimer:
    """Reports each step and keeps its duration in seconds."""

    def __init__(self, clock: Callable[[], datetime], progress: ProgressListener) -> None:
        self._clock = clock
        self._progress = progress
        self._last = clock()
        self.seconds: dict[str, float] = {}

    def done(self, step: str, detail: str) -> None:
        now = self._clock()
        self.seconds[step] = (now - self._last).total_seconds()
        self._last = now
        self._progress(step, detail)


def make_files(
    source: SourceFolder,
    data: Dataset,
    mark: Mark,
    seed: int,
    steps: StepTimer,
    confinement: Confinement,
    largest_loss: float = LARGEST_LOSS,
    first_stage: bool = True,
) -> tuple[dict[str, bytes], VersionReport]:
    """The files by name, and the report. Without `first_stage` the version has none, even where one
    would pay.

    Raises: WATERMARK_CAPACITY, WATERMARK_FAINT, WATERMARK_COST, GRAPH_MISMATCH, GOLDEN_MISMATCH,
    CALIBRATION_TOO_SMALL; WORKER_LIMIT, WORKER_FORBIDDEN, WORKER_FAILED, WORKER_UNCONFINED.
    """
    marked = embed(source.serving, source.response, mark)
    _check_mark(marked.detection, "fp32")
    says = "its payload" if marked.code.bits else "presence only"
    z = f"z = {marked.detection.z:.1f} at {marked.amplitude:.4g} of each spread"
    steps.done("mark", f"{z}, {says}")
    request = _request(source, marked, data, seed, first_stage).encode()
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(trial.TASK, request, limits, unsafe=unsafe) as worker:
        int8 = worker.receive(2 * len(marked.serving) + _HEADER)
        read = _read_mark(int8, marked)
        steps.done("quantize", f"the INT8 file alone reads z = {read.z:.1f}")
        drawn = golden_rows(data.test, trial.random_generators(seed)[0])
        golden = _golden(worker, source.config, drawn)
        steps.done("golden", f"{len(golden.x)} answers, the same alone and in a batch")
        detector = Detector.decode(worker.receive(LARGEST_JSON))
        rows = len(trial.rows_to_screen(data.test.x))
        measured = TrialMeasurements.decode(worker.receive(_LARGEST_REPORT), golden, rows)
        report = _report(marked, read, measured, largest_loss)
        flagged = measured.screening["clean"]["flagged"]
        steps.done("calibrate", f"{flagged:.1%} of clean test rows flagged")
        worker.finish()
        steps.done("admit", "it loads as a gateway loads it, and gives its golden answers")
    graphs = int8, marked.serving, marked.response
    files = trial.version_files(source.config, graphs, detector, golden, source.tokenizer)
    return files, report


def _request(
    source: SourceFolder, marked: MarkedGraphs, data: Dataset, seed: int, first_stage: bool
) -> trial.TrialRequest:
    return trial.TrialRequest(
        config=source.config,
        source=source.serving,
        serving=marked.serving,
        response=marked.response,
        fit=data.fit,
        calibration=data.calibration,
        test=data.test,
        seed=seed,
        tokenizer=source.tokenizer,
        traffic=data.traffic,
        earlier=data.earlier,
        first_stage=first_stage,
    )


def _golden(worker: process.Worker, config: ModelConfig, rows: Rows) -> Golden:
    """The worker's golden answers, which must be for the rows that the seed chooses."""
    size = rows.nbytes + len(rows) * 4 * config.output.row[0]
    golden = Golden.decode(worker.receive(size + _HEADER), config)
    if not np.array_equal(golden.x, rows):
        raise SealgateError(Reason.WORKER_FAILED, "its golden answers are for other rows")
    return golden


def _report(
    marked: MarkedGraphs, int8: MarkDetection, measured: TrialMeasurements, largest_loss: float
) -> VersionReport:
    report = VersionReport(
        watermark_fp32=marked.detection,
        watermark_int8=int8,
        amplitude=marked.amplitude,
        worded=marked.code.bits > 0,
        slots=marked.slots,
        measured=measured,
    )
    if report.accuracy_lost > largest_loss:
        detail = f"{report.accuracy_lost:.2%} of the test slice, {largest_loss:.2%} may be"
        raise SealgateError(Reason.WATERMARK_COST, detail)
    return report


def _read_mark(int8: bytes, marked: MarkedGraphs) -> MarkDetection:
    read = read_code(weights_of("model.onnx", int8), marked.code, marked.slots)
    _check_mark(read, "INT8")
    return read


def _check_mark(detection: MarkDetection, form: str) -> None:
    if not detection.found:
        raise SealgateError(Reason.WATERMARK_FAINT, f"{form} reads z = {detection.z:.1f}")
