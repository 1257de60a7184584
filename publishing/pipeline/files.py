"""Makes the files of a version: marked, quantized, with golden answers and a detector.

Marking is arithmetic on the weights with the publisher's watermark key, and is done here. Anything
that runs a graph is done by a worker, which has no key and is confined (`registry.sandbox`). The
form of the worker's answers is checked, and that the INT8 model carries the mark.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from inference.engine import FLOAT32_TOLERANCE
from inference.engine.version_contents import check_screens
from inference.model.config import ModelConfig
from inference.model.golden import Golden
from inference.runtime.response_contract import check_same_parameters, check_text_response_graph
from inference.screening.detector import Detector
from publishing.evidence.measurements import MarkFigures, TrialMeasurements, VersionReport
from publishing.serialization import parse_model
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark import (
    MARK_CAPACITY,
    Mark,
    MarkDetection,
    MarkedGraphs,
    embed_mark,
    read_carriers,
    read_code,
    weights_of,
)
from publishing.worker_tasks import trial
from publishing.worker_tasks.forward import Array as Rows
from publishing.worker_tasks.forward import golden_rows
from publishing.worker_tasks.trial_request import TrialRequest, random_generators, rows_to_screen
from registry.formats.format_check import LARGEST_JSON
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError

# Beyond these, an answer of the worker is not one. An INT8 model is smaller than the float32 one,
# but for a note on each tensor.
_LARGEST_REPORT = 64 << 10
# The default for the accuracy that marking may cost, as a share of the test slice.
LARGEST_LOSS = 0.02
# A mark's cost depends on its payload and is known only at the end, so few are drawn.
DRAWS = 4
_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class MarkSettings:
    """The mark, how much accuracy it may cost, as a share of the test slice, and whether a model
    with too few weights may go without.
    """

    mark: Mark
    largest_loss: float = LARGEST_LOSS
    optional: bool = False


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
    wanted: MarkSettings,
    seed: int,
    steps: StepTimer,
    confinement: Confinement,
    first_stage: bool = True,
) -> tuple[dict[str, bytes], VersionReport]:
    """The files by name, and the report. Without `first_stage` the version has none, even where one
    would pay.

    Raises: WATERMARK_CAPACITY, WATERMARK_FAINT, WATERMARK_COST, GRAPH_MISMATCH, GOLDEN_MISMATCH,
    CALIBRATION_TOO_SMALL; WORKER_LIMIT, WORKER_FORBIDDEN, WORKER_FAILED, WORKER_UNCONFINED.
    """
    marked, weights = _marked(source, wanted)
    steps.done("mark", _described(marked, weights))
    graphs = (source.serving, source.response) if marked is None else marked.graphs
    if not source.response:
        graphs = (graphs[0], b"")
    request = _request(source, graphs, data, seed, first_stage).encode()
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(trial.TASK, request, limits, unsafe=unsafe) as worker:
        int8 = worker.receive(2 * len(graphs[0]) + _HEADER)
        figures = None if marked is None else _figures(int8, marked)
        read = "" if figures is None else f"; the file alone reads z = {figures.int8.z:.1f}"
        graphs = graphs[0], _response(worker, *graphs)
        steps.done("quantize", f"it answers in {source.config.arithmetic.upper()}{read}")
        decision = source.config.decision
        drawn = golden_rows(data.test, random_generators(seed)[0], decision)
        golden = _golden(worker, source.config, drawn)
        steps.done(
            "golden", f"{len(golden.x)} answers, {alike_in_batches(source.config.quantized)}"
        )
        detector = Detector.decode(worker.receive(LARGEST_JSON))
        check_screens(detector, bool(source.response))
        rows = len(rows_to_screen(data.test.x)) if source.response else 0
        told = worker.receive(_LARGEST_REPORT)
        measured = TrialMeasurements.decode(told, golden, rows, source.config.quantized, decision)
        report = _checked(VersionReport(figures, weights, measured), wanted)
        steps.done("calibrate", _flagged(measured))
        worker.finish()
        steps.done("admit", "it loads as a gateway loads it, and gives its golden answers")
    files = trial.version_files(source.config, (int8, *graphs), detector, golden, source.tokenizer)
    return files, report


def alike_in_batches(quantized: bool) -> str:
    """How alike answers are in different batches; an engine that finds otherwise refuses with
    `GOLDEN_MISMATCH`.
    """
    if quantized:
        return "the same to the last bit alone and in a batch"
    return f"the same to {FLOAT32_TOLERANCE:g} alone and in a batch"


def _request(
    source: SourceFolder, graphs: tuple[bytes, bytes], data: Dataset, seed: int, first_stage: bool
) -> TrialRequest:
    return TrialRequest(
        config=source.config,
        source=source.serving,
        serving=graphs[0],
        response=graphs[1],
        fit=data.fit,
        calibration=data.calibration,
        test=data.test,
        seed=seed,
        tokenizer=source.tokenizer,
        traffic=data.traffic,
        earlier=data.earlier,
        first_stage=first_stage,
        keeps_rows=source.keeps_rows,
    )


def _response(worker: process.Worker, serving: bytes, response: bytes) -> bytes:
    """The response graph as the worker has quantized it, which must hold the serving graph's
    weights.
    """
    found = worker.receive(2 * len(response) + _HEADER)
    if found != response:
        check_text_response_graph(found)
        check_same_parameters(serving, found)
    return found


def _golden(worker: process.Worker, config: ModelConfig, rows: Rows) -> Golden:
    """The worker's golden answers, which must be for the rows that the seed chooses."""
    size = rows.nbytes + len(rows) * 4 * config.output.row[0]
    golden = Golden.decode(worker.receive(size + _HEADER), config)
    if not np.array_equal(golden.x, rows):
        raise SealgateError(Reason.WORKER_FAILED, "its golden answers are for other rows")
    return golden


def _checked(report: VersionReport, wanted: MarkSettings) -> VersionReport:
    if report.accuracy_lost > wanted.largest_loss:
        detail = f"{report.accuracy_lost:.2%} of the test slice, {wanted.largest_loss:.2%} may be"
        raise SealgateError(Reason.WATERMARK_COST, detail)
    return report


def _marked(source: SourceFolder, wanted: MarkSettings) -> tuple[MarkedGraphs | None, int]:
    """The marked graphs, None where there are too few weights and that is allowed; and how many
    weights could carry a mark.
    """
    weights = sum(each.values.size for each in read_carriers(parse_model(source.serving)))
    if wanted.optional and weights < MARK_CAPACITY:
        return None, weights
    marked = embed_mark(source.serving, source.response or source.serving, wanted.mark)
    _check_mark(marked.detection, "fp32")
    return marked, weights


def _flagged(measured: TrialMeasurements) -> str:
    if "clean" not in measured.screening:
        return "NOTHING IS SCREENED"
    return f"{measured.screening['clean']['flagged']:.1%} of clean test rows flagged"


def _described(marked: MarkedGraphs | None, weights: int) -> str:
    if marked is None:
        return f"none: {weights} weights can carry one, {MARK_CAPACITY} must"
    says = "its payload" if marked.code.bits else "presence only"
    return f"z = {marked.detection.z:.1f} at {marked.amplitude:.4g} of each spread, {says}"


def _figures(answering: bytes, marked: MarkedGraphs) -> MarkFigures:
    read = read_code(weights_of("model.onnx", answering), marked.code, marked.slots)
    _check_mark(read, "the file that answers")
    worded = marked.code.bits > 0
    return MarkFigures(marked.detection, read, marked.amplitude, worded, marked.slots)


def _check_mark(detection: MarkDetection, form: str) -> None:
    if not detection.found:
        raise SealgateError(Reason.WATERMARK_FAINT, f"{form} reads z = {detection.z:.1f}")
