"""Runs one batch: the model's answer and the one or two stages of screening.

Without a first stage, the response graph screens every row. With one, the INT8 graph also outputs
the input of its last layer, the first stage scores that, and the response graph runs only for the
rows that the first stage escalates. If another server answers, the INT8 graph runs here for the
first stage only, and rows for which it gives another class are escalated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from inference.engine.comparison import LogitsSource, MarginComparison, by_float32, compared
from inference.engine.graphs import TappedGraph, counted, open_tapped
from inference.model.config import ModelConfig
from inference.model.inputs import InputForm
from inference.observability import tracing
from inference.runtime.session import Session
from inference.runtime.settings import CPU, ON_CPU, RuntimeSettings
from inference.screening.detector import Detector, disagreeing
from inference.screening.first_stage import FirstStage, RunOutputs
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import INT8

Array = npt.NDArray[Any]

IN_PROCESS = "in-process, digest checked"
# INT8 answers repeat bit for bit on one machine. Another machine may round the float operations
# around the integer kernels differently, by no more than this (absolute and relative).
GOLDEN_TOLERANCE = 1e-5
# Float32 kernels sum a single row in another order than a full tile, and machines differ.
FLOAT32_TOLERANCE = 1e-4
# Screening features, in float32, may differ by this much between batches: kernels sum in another
# order for a single row than for a full tile.
SCREENING_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ServingTarget:
    """The graph or server that answers for a version. `place` says where it runs, and whether its
    digest is checked there.

    `arithmetic` is its number format, or empty if unknown. It runs `lanes` batches at once.
    Golden answers may deviate by `tolerance`; between different batches by `company`; and screening
    features by `screening` (all absolute and relative).
    """

    served: LogitsSource
    lanes: int
    place: str = IN_PROCESS
    tolerance: float = GOLDEN_TOLERANCE
    company: float = 0.0
    screening: float = SCREENING_TOLERANCE
    arithmetic: str = INT8

    @classmethod
    def here(
        cls,
        served: Session,
        response: Session,
        lanes: int,
        settings: RuntimeSettings,
        arithmetic: str = INT8,
    ) -> "ServingTarget":
        """A target in this process: `served` answers, and `response` screens."""
        place = "" if settings.provider == CPU else f", on {served.place}"
        if response.place != served.place:
            place += f", screened on {response.place}"
        stated = settings.tolerance
        if arithmetic != INT8:
            stated = max(stated, FLOAT32_TOLERANCE)
        return cls(
            served,
            # A captured graph has one set of buffers.
            1 if settings.cuda_graphs else lanes,
            IN_PROCESS + place,
            tolerance=stated or GOLDEN_TOLERANCE,
            company=0.0 if settings.deterministic else stated,
            screening=0.0 if settings.deterministic else max(stated, SCREENING_TOLERANCE),
            arithmetic=arithmetic,
        )


class BatchOutput(NamedTuple):
    """The logits and features of each row, and the nanoseconds of answering and of screening."""

    logits: Array
    features: Array
    answering: int
    screening: int


class Screening(Protocol):
    """Answers and screens the rows of a batch. `response` gives features.

    `sessions` are those that it runs in addition to the two that it is given.
    """

    @property
    def sessions(self) -> Sequence[Session]: ...

    def run(
        self, x: Array, served: LogitsSource, response: LogitsSource, form: InputForm
    ) -> BatchOutput: ...


@dataclass(frozen=True, slots=True)
class SingleStage:
    """The response graph on every row. The detector sets `answers_float32`."""

    answers_float32: bool = False
    comparison: MarginComparison | None = None

    @property
    def sessions(self) -> Sequence[Session]:
        return () if self.comparison is None else (self.comparison.reference,)

    def run(
        self, x: Array, served: LogitsSource, response: LogitsSource, form: InputForm
    ) -> BatchOutput:
        begun = perf_counter_ns()
        measured = response.run(form.screening(x))
        screened = perf_counter_ns()
        tracing.past("screen", begun, screened)
        (logits,) = served.run(form.serving(x))
        answered = perf_counter_ns()
        features = compared(measured, logits)
        if self.comparison is not None:
            column, logits = self.comparison.run(x, logits, form)
            features = np.concatenate([features, column], axis=1)
        elif self.answers_float32:
            logits = by_float32(x, logits, features, response, form)
        screening = screened - begun + perf_counter_ns() - answered
        return BatchOutput(logits, features, answered - screened, screening)


@dataclass(frozen=True, slots=True)
class Unscreened:
    """No screening: the one feature of `inference.screening.detector.UNSCREENED` is zero."""

    sessions: Sequence[Session] = ()

    def run(
        self, x: Array, served: LogitsSource, response: LogitsSource, form: InputForm
    ) -> BatchOutput:
        begun = perf_counter_ns()
        (logits,) = served.run(form.serving(x))
        features = np.zeros((len(x), 1), np.float32)
        return BatchOutput(logits, features, perf_counter_ns() - begun, 0)


@dataclass(frozen=True, slots=True)
class TwoStage:
    """A first stage, and the response graph for the rows that it escalates.

    If it `spares` no run, the graph still runs on every row: verdicts are those of the stages, and
    batches keep their sizes.
    """

    stage: FirstStage
    tapped: TappedGraph
    width: int
    spares: bool = True
    answers_float32: bool = False
    comparison: MarginComparison | None = None

    @classmethod
    def open(
        cls,
        graphs: tuple[bytes, bytes, bytes],
        config: ModelConfig,
        detector: Detector,
        threads: int,
        settings: RuntimeSettings = ON_CPU,
        comparison: MarginComparison | None = None,
    ) -> "TwoStage | None":
        """The two stages of a detector that has a first stage; `graphs` are the INT8, the float32
        and the checked response graph; `comparison` is there where the detector has a margin.

        Raises GRAPH_MISMATCH if they do not end in a layer of the size that the stage reads, and as
        `open_tapped` does.
        """
        stage = detector.first
        if stage is None:
            return None
        int8, float32, response = graphs
        words = counted(response, config, stage)
        tapped = open_tapped(int8, float32, config, threads, settings, words)
        vectors = stage.readings.vectors
        if (vectors.classes, vectors.size) != tapped.weight.shape:
            raise SealgateError(Reason.GRAPH_MISMATCH, "the first stage reads another last layer")
        spares = not (settings.deterministic or settings.cuda_graphs)
        answers_float32 = detector.answers_float32
        return cls(stage, tapped, detector.width, spares, answers_float32, comparison)

    @property
    def sessions(self) -> Sequence[Session]:
        own = () if self.comparison is None else (self.comparison.reference,)
        return (self.tapped.session, *own)

    def run(
        self, x: Array, served: LogitsSource, response: LogitsSource, form: InputForm
    ) -> BatchOutput:
        begun = perf_counter_ns()
        feeds = form.serving(x)
        outputs = served.run(feeds)
        answered = perf_counter_ns()
        # If the INT8 graph does not answer, it runs only for the first stage.
        own = len(outputs) > 1
        shown = self.tapped.shown(feeds, outputs) if own else self.tapped.run(feeds)
        logits, first = outputs[0], self._first(shown, len(x))
        if not own:
            # The stage saw another class than the caller gets, so it cannot clear such rows.
            first[disagreeing(logits, shown.logits) == 1] = np.nan
        features = np.full((len(x), self.width), np.nan, np.float32)
        width = first.shape[1]
        features[:, :width] = first
        measured = features[:, width : width + self._graph_width]
        escalates = self.stage.escalates(first)
        if escalates.all() or not self.spares:
            measured[:] = self._measured(x, logits, response, form)
        elif escalates.any():
            measured[escalates] = self._measured(x[escalates], logits[escalates], response, form)
        if self.comparison is not None:
            features[:, -1:], logits = self.comparison.run(x, logits, form)
        elif self.answers_float32:
            logits = by_float32(x, logits, features, response, form)
        ended = perf_counter_ns()
        tracing.past("screen", answered, ended)
        return BatchOutput(logits, features, answered - begun, ended - answered)

    @property
    def _graph_width(self) -> int:
        """How many features are measured by the response graph."""
        return self.width - self.stage.scoring.width - int(self.comparison is not None)

    def _first(self, shown: RunOutputs, rows: int) -> Array:
        """The first stage's features of rows."""
        readings, classes = self.stage.readings, len(self.tapped.weight)
        expected = ((rows, readings.inputs.size), (rows, readings.vectors.size), (rows, classes))
        if tuple(each.shape for each in shown) != expected:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "a graph's answer has another shape than it declares"
            )
        return readings.features(shown, self.tapped.weight)

    def _measured(self, x: Array, logits: Array, response: LogitsSource, form: InputForm) -> Array:
        features = compared(response.run(form.screening(x)), logits)
        if features.shape != (len(x), self._graph_width):
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "a graph's answer has another shape than it declares"
            )
        return features
