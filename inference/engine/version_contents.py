"""The files of a version: reads them, opens their graphs, and checks them before it answers.

All files are in its manifest:

    model.json           description and configuration (inference.model.config)
    model.int8.onnx      the model that answers: INT8, or the float32 one once more where
                         model.json states that precision
    model.fp32.onnx      the watermarked float32 model from which the INT8 one was made
    response.onnx        the screening graph of the same weights
                         (inference.runtime.response_contract); not of a version without screening
    detector.json        the detector for that graph's features (inference.screening.detector)
    golden.safetensors   `x` [n, …] and the answering graph's `logits` [n, C]; for texts, also those
                         of `sealgate.probes`
    tokenizer.json       splits texts into tokens, if the model takes texts
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from inference.batching import OperatorBounds, Pace
from inference.engine.batch_run import Screening, ServingTarget, SingleStage, TwoStage, Unscreened
from inference.engine.comparison import MarginComparison, gives_same_bits
from inference.engine.graphs import check_response, open_classifier, open_reference, open_response
from inference.engine.result import InferenceResult
from inference.model.config import CLASSES, ModelConfig
from inference.model.golden import Golden
from inference.model.inputs import InputForm, check_tokenizer, form_of
from inference.runtime import response_contract
from inference.runtime.session import Session
from inference.runtime.settings import CPU, SMALL_GRAPH, GraphSpread, RuntimeSettings
from inference.screening.detector import UNSCREENED, Detector
from sealgate.reasons import Reason, SealgateError

MODEL = "model.json"
INT8 = "model.int8.onnx"
FP32 = "model.fp32.onnx"
RESPONSE = "response.onnx"
DETECTOR = "detector.json"
GOLDEN = "golden.safetensors"
TOKENIZER = "tokenizer.json"
"""Only text models have it; every version has the others."""
FILES = frozenset({MODEL, INT8, FP32, RESPONSE, DETECTOR, GOLDEN})
Array = npt.NDArray[Any]

# The first golden rows also run singly and in threes: the batch must not change the answers.
_COMPANY_SIZES = (1, 3)
_COMPANY_ROWS = 12


def check_screens(detector: Detector, response: bool) -> None:
    """Raises SealgateError(GRAPH_MISMATCH) unless the detector is `UNSCREENED` just where a version
    has no response graph.
    """
    if (detector != UNSCREENED) is not response or detector.screens is not response:
        raise SealgateError(
            Reason.GRAPH_MISMATCH, "a version has both a detector and a response graph, or neither"
        )


def check_columns(detector: Detector, config: ModelConfig) -> None:
    """Raises SealgateError(GRAPH_MISMATCH) where the detector has bins of other columns than the
    model's rows.
    """
    bins = detector.inputs
    if bins is not None and config.input.row != (len(bins.bounds),):
        raise SealgateError(Reason.GRAPH_MISMATCH, "the detector has bins of other columns")


def check_margin(detector: Detector, config: ModelConfig) -> None:
    """Raises SealgateError(GRAPH_MISMATCH) where the detector has a margin between classes, and the
    model answers something else.
    """
    if detector.least_margin and config.decision != CLASSES:
        raise SealgateError(Reason.GRAPH_MISMATCH, "a margin between classes of another answer")


@dataclass(frozen=True, slots=True)
class VersionDocuments:
    """A version's parsed documents, checked against each other."""

    digest: str
    config: ModelConfig
    detector: Detector
    form: InputForm
    golden: Golden

    @classmethod
    def read(cls, digest: str, files: Mapping[str, bytes], bounds: OperatorBounds) -> Self:
        """Step 1 of `ReadyVersion.build`."""
        signed = ModelConfig.decode(files[MODEL])
        config = replace(signed, batching=bounds.tighten(signed.name, signed.batching))
        detector = Detector.decode(files[DETECTOR])
        check_screens(detector, RESPONSE in files)
        check_columns(detector, config)
        check_margin(detector, config)
        golden = Golden.decode(files[GOLDEN], config)
        tokenizer = files.get(TOKENIZER)
        check_tokenizer(config, tokenizer)
        form = form_of(config, tokenizer)
        golden.check_probe(form.probe())
        return cls(digest, config, detector, form, golden)

    @property
    def compared(self) -> bool:
        """Whether answers are compared with the float32 model's."""
        return self.detector.disagreement is not None

    def check_features(self, response: bytes) -> None:
        """Raises SealgateError(GRAPH_MISMATCH) unless the detector reads as many features as the
        response graph has.
        """
        ours = self.detector.width - self.detector.first_width - int(self.compared)
        if check_response(response, self.config).features != ours:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "the detector reads another number of features"
            )


@dataclass(frozen=True, slots=True)
class VersionGraphs:
    """A version's opened graphs. `whole` is the response graph as signed, on the CPU, and
    `response` the one that requests run; `float32` is the model from which INT8 was made, and
    stands for both where nothing is screened. `reference` is what answers of small margin are
    compared with, where that is not part of `response`.
    """

    serving: ServingTarget
    response: Session
    screening: Screening
    whole: Session
    float32: Session
    pace: Pace
    reference: Session | None = None

    @classmethod
    def open(
        cls,
        files: Mapping[str, bytes],
        documents: VersionDocuments,
        spread: GraphSpread,
        settings: RuntimeSettings,
        serving: ServingTarget | None,
    ) -> Self:
        """Steps 2 and 3 of `ReadyVersion.build`."""
        # 2.
        config, detector, threads = documents.config, documents.detector, spread.threads
        float32 = open_classifier(files[FP32], config, threads)
        if not detector.screens:
            served = open_classifier(files[INT8], config, threads, settings)
            here = ServingTarget.here(served, served, spread.lanes, settings, config.arithmetic)
            pace = cls._pace(files, documents, serving or here)
            return cls(serving or here, float32, Unscreened(), float32, float32, pace)
        whole, response = open_response(
            files[RESPONSE],
            config,
            threads,
            settings,
            compared=documents.compared and not detector.least_margin,
        )
        # 3.
        documents.check_features(files[RESPONSE])
        reference, comparison = None, None
        if detector.least_margin:
            reference = open_reference(files[RESPONSE], config, threads, settings)
            comparison = cls._comparison(reference, documents, settings, serving)
        graphs = files[INT8], files[FP32], files[RESPONSE]
        staged = TwoStage.open(graphs, config, detector, threads, settings, comparison)
        if serving is None:
            tapped = staged.tapped.session if staged else None
            served = tapped or open_classifier(files[INT8], config, threads, settings)
            serving = ServingTarget.here(
                served, response, spread.lanes, settings, config.arithmetic
            )
        screening = staged or SingleStage(detector.answers_float32, comparison)
        pace = cls._pace(files, documents, serving)
        return cls(serving, response, screening, whole, float32, pace, reference)

    @staticmethod
    def _comparison(
        reference: Session,
        documents: VersionDocuments,
        settings: RuntimeSettings,
        serving: ServingTarget | None,
    ) -> MarginComparison:
        spares = not (settings.deterministic or settings.cuda_graphs)
        # Answers of another server are always compared, whatever margin it states.
        least = documents.detector.least_margin if serving is None else np.inf
        # On the processor most graphs give the same bits in any batch, but not each.
        rows = np.resize(documents.golden.x, (_COMPANY_ROWS, *documents.golden.x.shape[1:]))
        is_steady = settings.provider == CPU and gives_same_bits(reference, rows, documents.form)
        return MarginComparison(reference, least, spares, is_steady)

    @staticmethod
    def _pace(
        files: Mapping[str, bytes], documents: VersionDocuments, serving: ServingTarget
    ) -> Pace:
        small = len(files[INT8]) < SMALL_GRAPH and documents.config.tokens is None
        return Pace.QUICK if small and isinstance(serving.served, Session) else Pace.SLOW


def check_forward(form: InputForm, graphs: VersionGraphs, golden: Golden, most: int) -> None:
    """Step 4. Raises: GRAPH_MISMATCH."""
    screening = (graphs.whole, graphs.response, graphs.reference)

    def both(x: Array) -> tuple[Array, ...]:
        feeds = form.screening(x)
        found = graphs.float32.run(form.serving(x))
        return (*found, *(each for run in screening if run for each in run.run(feeds)))

    for x, _ in golden.batches(most):
        expected, logits, features, pruned, *compared = form.run(x, both)
        for each in (logits, *compared):
            response_contract.check_same_forward(expected, each)
        if not np.allclose(pruned, features, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise SealgateError(Reason.GRAPH_MISMATCH, "the features need what was pruned")


def check_answers(
    form: InputForm,
    batch: Callable[[list[Array]], list[InferenceResult]],
    output: str,
    serving: ServingTarget,
    golden: Golden,
    most: int,
) -> None:
    """Steps 5 and 6, by what `batch` answers. Raises: GOLDEN_MISMATCH, GRAPH_MISMATCH."""
    whole = [answer for x, _ in golden.batches(most) for answer in batch([x])]
    if not np.isfinite([each.score for each in whole]).all():
        raise SealgateError(Reason.GRAPH_MISMATCH, "a golden input has no score")
    logits = np.concatenate([each.outputs[output] for each in whole])
    features = np.concatenate([each.features for each in whole])
    golden.check(logits, serving.tolerance)
    if golden.probes is not None:
        answered = [answer for x, _ in golden.probes.batches(most) for answer in batch([x])]
        probed = np.concatenate([each.outputs[output] for each in answered])
        golden.probes.check(probed, serving.tolerance)
    first = min(_COMPANY_ROWS, len(logits))
    for size in (*_COMPANY_SIZES, most):
        size = min(size, most)
        rows = [golden.x[at : min(at + size, first)] for at in range(0, first, size)]
        parts = [answer for x in rows for answer in batch([x])]
        found = np.concatenate([part.outputs[output] for part in parts])
        if not _near(found, logits, serving.company):
            raise SealgateError(Reason.GOLDEN_MISMATCH, f"answers change in batches of {size}")
        if not _near(np.concatenate([p.features for p in parts]), features, serving.screening):
            raise SealgateError(Reason.GOLDEN_MISMATCH, f"screening changes in batches of {size}")
    _check_extremes(form, batch)


def _check_extremes(form: InputForm, batch: Callable[[list[Array]], list[InferenceResult]]) -> None:
    """Run rows that golden inputs may not cover, so that one caller's row cannot fail a shared
    batch.
    """
    for rows in form.extremes():
        try:
            batch([rows])
        except SealgateError as refusal:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, f"{rows.shape}: {refusal.detail}"
            ) from refusal


def _near(found: Array, expected: Array, off: float) -> bool:
    """Whether rows are the first of those expected, within `off`, absolute and relative."""
    return np.allclose(found, expected[: len(found)], rtol=off, atol=off, equal_nan=True)
