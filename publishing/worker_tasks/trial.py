"""The worker's publishing task: everything that runs the model before anyone has approved it.

The worker gets no key, and its input is the publisher's own. Its answers, in order:

    the model that answers    INT8, or float32 where the configuration says so, after both marked
                              graphs have computed the same logits
    the response graph        as it screens: that of an INT8 text model computes its features
                              in INT8; empty without screening
    golden.safetensors
    detector.json
    measurements              canonical JSON (`publishing.evidence.measurements.TrialMeasurements`)

If it ends without error, the version loads as a gateway would load it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine import (
    FLOAT32_TOLERANCE,
    ReadyVersion,
    counted,
    open_response,
    version_contents,
)
from inference.model.config import CLASSES, ModelConfig
from inference.model.golden import Golden
from inference.model.inputs import form_of
from inference.runtime.response_contract import check_same_forward
from inference.runtime.settings import CpuSettings
from inference.screening.column_bins import ColumnBins
from inference.screening.detector import UNSCREENED, Detector
from inference.screening.first_stage import FirstStage
from publishing.attacks import TextProbe, number_probe
from publishing.calibration import (
    BorderProber,
    FitRows,
    ServedProber,
    ServedVectors,
    StagedProber,
    TimedGraphs,
    attack_fit_rows,
    choose_first_stage,
    draft_detector,
    least_margin,
    recalibrated,
    report_of,
    set_thresholds,
)
from publishing.evidence.certified_rows import shares_certified
from publishing.evidence.measurements import (
    CERTIFIED,
    NO_SCREENING,
    RECALIBRATION,
    UNSEEN,
    Accuracies,
    TrialMeasurements,
)
from publishing.evidence.recalibration import changes
from publishing.quantization import quantize, quantize_response
from publishing.worker_tasks.forward import (
    GoldenModel,
    ReleasedGraphs,
    ResponseGraph,
    ServingGraph,
    golden_report,
    run_golden,
)
from publishing.worker_tasks.trial_request import TrialRequest, random_generators, rows_to_screen
from sealgate.reasons import Reason, SealgateError

TASK = f"{__name__}:run"


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """Runs the model, and sends what the module says.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA, GRAPH_MISMATCH, GOLDEN_MISMATCH, CALIBRATION_TOO_SMALL,
    INTERNAL.
    """
    asked = TrialRequest.decode(request)
    config, test = asked.config, asked.test
    for_golden, for_noise = random_generators(asked.seed)
    fp32 = ServingGraph.of(asked.serving, config)
    fp32_logits = fp32.logits(test.x)
    graph, response = None, _response(asked)
    asked = replace(asked, response=response)
    if response:
        graph = ResponseGraph.of(response)
        sample = rows_to_screen(test.x)
        check_same_forward(fp32_logits[: len(sample)], graph.logits(sample, config))
    int8 = asked.serving
    if config.quantized:
        rows, by_column = asked.fit.x, config.relative
        int8 = quantize(asked.serving, config.input.name, rows, products_only=by_column)
    send(int8)
    send(response)
    served = ServingGraph.of(int8, config)
    compared = graph is not None and config.quantized and config.decision == CLASSES
    if asked.earlier is not None:
        # A recalibration rests on the features that its version measured on traffic.
        compared = asked.earlier.disagreement is not None
    answering: GoldenModel = served
    if graph is not None and compared:
        # A recalibration keeps the margin of its version.
        least = asked.earlier.least_margin if asked.earlier else 0.0
        answering = ReleasedGraphs(served, graph, config, least or np.inf)
    golden = _golden(asked, answering, for_golden)
    send(golden.encode())
    detector, screened = UNSCREENED, dict[str, Any](NO_SCREENING)
    if graph is not None:
        screening = _Screened(graph, served, fp32, int8, golden, compared)
        detector, screened = screening.measured(asked, for_noise)
    send(detector.encode())
    accuracies = _accuracies(asked, fp32_logits, served)
    report = golden_report(golden, fp32.logits(golden.x), config.quantized, config.decision)
    send(TrialMeasurements(report, screened, accuracies).encode())
    both = int8, asked.serving, response
    files = version_files(config, both, detector, golden, asked.tokenizer)
    ReadyVersion.build("", files, CpuSettings(1))


def _response(asked: TrialRequest) -> bytes:
    """The response graph to ship. A recalibration screens by the very graph of its version."""
    config, response = asked.config, asked.response
    if config.quantized and config.tokens is not None and response and asked.earlier is None:
        return quantize_response(response, asked.fit.x, config.eps)
    return response


@dataclass(frozen=True, slots=True)
class _Screened:
    """The subject that screening is fitted to and measured on: the graphs of a version, whether
    their answers are `compared`, and its golden answers.
    """

    graph: ResponseGraph
    served: ServingGraph
    fp32: ServingGraph
    int8: bytes
    golden: Golden
    compared: bool

    def measured(
        self, asked: TrialRequest, for_noise: np.random.Generator
    ) -> tuple[Detector, dict[str, Any]]:
        """The detector, and the report on it."""
        config, compared = asked.config, self.compared
        prober: BorderProber = number_probe(self.graph, config)
        if config.tokens is not None:
            prober = TextProbe.of(asked.response, config, config.tokens, asked.fit.x)
        with_logits = compared and not asked.asks_float32
        response = open_response(asked.response, config, 1, compared=with_logits)[1]
        graphs = TimedGraphs(self.served.session, self.fp32.session, response, self.served.form)
        # Without them no stage is measured.
        staged = asked.first_stage and config.decision == CLASSES
        vectors = _vectors(self.int8, asked, self.served, self.golden) if staged else None
        answering = ServedProber(prober, self.served, compared, decision=config.decision)
        answering, detector, found = _fitted(
            asked, answering, vectors, graphs, self.golden, for_noise
        )
        detector = replace(detector, inputs=ColumnBins.of(asked.calibration.x))
        answering = replace(answering, border=True)
        sample = rows_to_screen(asked.test.x)
        report = report_of(answering, detector, sample, for_noise, config.decision)
        report |= {"disagreement": str(detector.disagreement or UNSEEN)} | found
        shares = shares_certified(asked.serving, config, sample, asked.test.y[: len(sample)])
        return detector, report | ({CERTIFIED: shares} if shares else {})


def _accuracies(
    asked: TrialRequest, fp32_logits: npt.NDArray[np.float32], served: ServingGraph
) -> Accuracies:
    """On the test slice: of the model before its mark, with it, and in INT8."""
    test = asked.test
    source = ServingGraph.of(asked.source, asked.config).logits(test.x)
    every = (source, fp32_logits, served.logits(test.x))
    return Accuracies(*(asked.config.decision.quality(logits, test.y) for logits in every))


def _golden(asked: TrialRequest, served: GoldenModel, draw: np.random.Generator) -> Golden:
    tolerance = 0.0 if asked.config.quantized else FLOAT32_TOLERANCE
    golden = run_golden(served, asked.test, draw, tolerance, asked.config.decision)
    probe = form_of(asked.config, asked.tokenizer).probe()
    return golden if probe is None else replace(golden, probes=Golden(probe, served.logits(probe)))


def _fitted(
    asked: TrialRequest,
    prober: ServedProber,
    vectors: ServedVectors | None,
    graphs: TimedGraphs,
    golden: Golden,
    for_noise: np.random.Generator,
) -> tuple[ServedProber, Detector, dict[str, Any]]:
    """The detector, with a first stage where one pays, what measures rows for it, and what the
    report says of stages, and of a recalibration.
    """
    seen = attack_fit_rows(
        *(prober, asked.unkept, for_noise),
        compared=prober.compared,
        decision=prober.decision,
        texts=asked.config.tokens is not None,
    )
    draft = draft_detector(seen)
    margin = _asked_below(asked, seen, graphs, golden)
    chosen = (
        choose_first_stage(seen, vectors, graphs, asked_below=margin)
        if vectors is not None
        else None
    )
    if margin is not None:
        draft = replace(draft, least_margin=margin)
        prober = replace(prober, least_margin=margin)
    stage = chosen.stage if chosen is not None and chosen.pays else None
    if asked.earlier is not None:
        stage = _kept_stage(asked.earlier, prober.compared)
    if vectors is not None and stage is not None:
        draft = replace(draft, first=stage)
        prober = replace(prober, prober=StagedProber(prober.prober, vectors, stage))
    detector = set_thresholds(draft, prober, asked.calibration.x, for_noise)
    found: dict[str, Any] = {}
    if asked.traffic is not None:
        detector = recalibrated(detector, asked.traffic)
        if asked.earlier is not None:
            found[RECALIBRATION] = changes(prober, asked.earlier, detector, seen)
    staged = detector.first is not None
    stages = chosen.value(staged) if chosen is not None else {"first_stage": False}
    return prober, detector, found | {"stages": stages}


def _kept_stage(earlier: Detector, compared: bool) -> FirstStage | None:
    """The version's own first stage, on which the features of its traffic depend."""
    if earlier.first is not None and compared and not earlier.answers_float32:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, "its first stage knows no least margin: publish again"
        )
    return earlier.first


def _asked_below(
    asked: TrialRequest, seen: FitRows, graphs: TimedGraphs, golden: Golden
) -> float | None:
    """The margin of rows about which float32 is asked by itself, if it is. Golden rows that
    rounding turned are among them, since float32 gave their answers.
    """
    if not (seen.compared and asked.asks_float32):
        return None
    if asked.earlier is not None:
        return asked.earlier.least_margin
    probes = () if golden.probes is None else (golden.probes.x,)
    return least_margin(seen, graphs, golden.x, *probes)


def _vectors(
    int8: bytes, asked: TrialRequest, served: ServingGraph, golden: Golden
) -> ServedVectors | None:
    """Where the model ends in one layer, and answers the same while it shows what enters that."""
    earlier = None if asked.earlier is None else asked.earlier.first
    words = counted(asked.response, asked.config, earlier)
    try:
        vectors = ServedVectors.of(int8, asked.serving, asked.config, words)
    except SealgateError as refusal:
        if refusal.reason is not Reason.GRAPH_MISMATCH:
            raise
        return None
    same = np.array_equal(vectors.of_rows(golden.x).logits, served.logits(golden.x))
    return vectors if same else None


def version_files(
    config: ModelConfig,
    graphs: tuple[bytes, bytes, bytes],
    detector: Detector,
    golden: Golden,
    tokenizer: bytes | None,
) -> dict[str, bytes]:
    """By name; of the graphs, the INT8 one comes first, then float32 and response graph."""
    int8, serving, response = graphs
    files = {
        version_contents.MODEL: config.encode(),
        version_contents.INT8: int8,
        version_contents.FP32: serving,
        version_contents.RESPONSE: response,
        version_contents.DETECTOR: detector.encode(),
        version_contents.GOLDEN: golden.encode(),
    }
    if not response:
        del files[version_contents.RESPONSE]
    if tokenizer is not None:
        files[version_contents.TOKENIZER] = tokenizer
    return files
