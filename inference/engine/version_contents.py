"""The files of a version, and what is opened of them.

All of them are in its manifest:

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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from inference.batching.limits import (
    OperatorBounds,
    Pace,
)
from inference.engine.batch_run import (
    Screening,
    ServingTarget,
    SingleStage,
    TwoStage,
    Unscreened,
)
from inference.engine.graphs import check_response, open_classifier, open_response
from inference.model.config import ModelConfig
from inference.model.forms import InputForm, check_tokenizer, form_of
from inference.model.golden import Golden
from inference.runtime.session import Session
from inference.runtime.settings import SMALL_GRAPH, GraphSpread, RuntimeSettings
from inference.screening.detector import UNSCREENED, Detector
from sealgate.reasons import Reason, SealgateError

MODEL = "model.json"
INT8 = "model.int8.onnx"
FP32 = "model.fp32.onnx"
RESPONSE = "response.onnx"
DETECTOR = "detector.json"
GOLDEN = "golden.safetensors"
TOKENIZER = "tokenizer.json"
"""Of a text model alone; the others are every version's."""
FILES = frozenset({MODEL, INT8, FP32, RESPONSE, DETECTOR, GOLDEN})


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


@dataclass(frozen=True, slots=True)
class VersionDocuments:
    """What a version's documents say, checked against each other."""

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


@dataclass(frozen=True, slots=True)
class VersionGraphs:
    """A version's opened graphs. `whole` is the response graph as signed, on the CPU, and
    `response` the one that requests run; `float32` is the model from which INT8 was made, and
    stands for both where nothing is screened.
    """

    serving: ServingTarget
    response: Session
    screening: Screening
    whole: Session
    float32: Session
    pace: Pace

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
            files[RESPONSE], config, threads, settings, compared=documents.compared
        )
        graphs = files[INT8], files[FP32], files[RESPONSE]
        staged = TwoStage.open(graphs, config, detector, threads, settings)
        if serving is None:
            tapped = staged.tapped.session if staged else None
            served = tapped or open_classifier(files[INT8], config, threads, settings)
            serving = ServingTarget.here(
                served, response, spread.lanes, settings, config.arithmetic
            )
        # 3.
        shape = check_response(files[RESPONSE], config)
        if shape.features != detector.width - detector.first_width - int(documents.compared):
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "the detector reads another number of features"
            )
        screening = staged or SingleStage(detector.answers_float32)
        pace = cls._pace(files, documents, serving)
        return cls(serving, response, screening, whole, float32, pace)

    @staticmethod
    def _pace(
        files: Mapping[str, bytes], documents: VersionDocuments, serving: ServingTarget
    ) -> Pace:
        small = len(files[INT8]) < SMALL_GRAPH and documents.config.tokens is None
        return Pace.QUICK if small and isinstance(serving.served, Session) else Pace.SLOW
