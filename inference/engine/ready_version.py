"""A version that is ready to answer: its graphs are loaded, compared and warmed up."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from time import perf_counter_ns
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from inference.batching import (
    DEFAULT_OPTIONS,
    NO_BOUNDS,
    BatchCosts,
    Batcher,
    BatcherCounts,
    BatcherLimits,
    BatchSizes,
    OperatorBounds,
    QueueItem,
    RequestOptions,
    RowCapacity,
)
from inference.engine.batch_run import ServingTarget
from inference.engine.result import InferenceResult, split_results
from inference.engine.statistics import BatchPhases, RunFault, Statistics
from inference.engine.version_contents import (
    INT8,
    VersionDocuments,
    VersionGraphs,
    check_answers,
    check_forward,
)
from inference.runtime.session import Session
from inference.runtime.settings import ALONE, CpuSettings, RunSettings, RuntimeSettings
from inference.text.tokenizer import TextTokenizer
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


class ReadyVersion:
    """A loaded version. It answers as long as anything refers to it, and holds no thread."""

    __slots__ = (
        "__weakref__",
        "_cores",
        "_earlier",
        "_form",
        "_golden",
        "_limits",
        "_screening",
        "_sizes",
        "arithmetic",
        "batcher",
        "capacity",
        "config",
        "detector",
        "digest",
        "engine",
        "pace",
        "response",
        "served",
        "statistics",
    )

    def __init__(
        self, documents: VersionDocuments, graphs: VersionGraphs, running: RunSettings
    ) -> None:
        serving, config = graphs.serving, documents.config
        self.digest = documents.digest
        self.engine = serving.place
        self.arithmetic = serving.arithmetic
        self.config = config
        self.pace = graphs.pace
        self.detector = documents.detector
        self.served = serving.served
        self.response = graphs.response
        self._screening = graphs.screening
        self._form = documents.form
        self._limits = BatcherLimits.of(config.batching, serving.lanes)
        self.capacity = RowCapacity(config.batching.max_rows)
        self._sizes = BatchSizes()
        # A run of microseconds on one core does not wait for runs of milliseconds.
        self._cores = running.cores if serving.lanes > 1 else None
        self._golden = documents.golden
        self._earlier = BatcherCounts()
        self.batcher = self._new_batcher()
        self.statistics = Statistics()

    @classmethod
    def build(
        cls,
        digest: str,
        files: Mapping[str, bytes],
        cpu: CpuSettings,
        serving: ServingTarget | None = None,
        bounds: OperatorBounds = NO_BOUNDS,
        running: RunSettings = ALONE,
    ) -> Self:
        """Make the version of `digest` ready from its files, which have been admitted.

        If `serving` is given, it answers instead of the INT8 graph. `bounds` limit the batching,
        and `running` says how graphs are run.

        1. `model.json` and `detector.json` are well-formed (DOCUMENT_MALFORMED), and a text model
           has a tokenizer, which splits texts like the publisher's did (see `check_tokenizer`,
           `TextTokenizer.open`; GOLDEN_MISMATCH).
        2. The graphs are plain ONNX (FORMAT_REFUSED, EXTERNAL_DATA) and load on the configured
           provider (ENGINE_UNSUITABLE). A version without a response graph has the detector that
           says so (GRAPH_MISMATCH), and steps 3 and 4 do not apply.
        3. The response graph matches the model's sizes and the detector's (GRAPH_MISMATCH).
        4. Its forward pass equals the float32 model's on the golden inputs (GRAPH_MISMATCH).
        5. The INT8 graph gives the golden answers, and both graphs give theirs in any batch, within
           the tolerances of `serving` (GOLDEN_MISMATCH).
        6. Screening scores golden inputs, and other inputs that callers may send (GRAPH_MISMATCH).

        The runs of steps 4 to 6 also warm the graphs.
        """
        documents = VersionDocuments.read(digest, files, bounds)  # 1
        spread, settings = cpu.spread(len(files[INT8])), running.settings
        graphs = VersionGraphs.open(files, documents, spread, settings, serving)  # 2, 3
        version = cls(documents, graphs, running)
        version._sizes = version._sizes_for(settings)
        config, form, golden = documents.config, documents.form, documents.golden
        most, output = config.batching.max_rows, config.output.name
        if documents.detector.screens:
            check_forward(form, graphs, golden, most)  # 4
        check_answers(form, version.answer, output, graphs.serving, golden, most)  # 5, 6
        return version

    @property
    def place(self) -> str:
        """Where its graphs run, as its sessions report."""
        return " and ".join(sorted({run.place for run in self._sessions()}))

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """Its tokenizer, if it takes texts."""
        return self._form.tokenizer

    def counts(self) -> BatcherCounts:
        """The batcher's counts since the version was loaded."""
        return self._earlier + self.batcher.counts()

    def submit(
        self,
        x: Array,
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> InferenceResult:
        """See `Batcher.submit`. Texts are tokenized first, outside of the batch, while others run.
        Raises TENSOR_TEXT as well.
        """
        rows, bucket = self._form.taken(x)
        return self.batcher.submit(rows, options, bucket)

    def submit_all(
        self, requests: Sequence[tuple[Array, RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        """See `Batcher.submit_all`; texts are tokenized first."""
        taken: list[tuple[Array, RequestOptions, int]] = []
        refused: dict[int, SealgateError] = {}
        for place, (x, options) in enumerate(requests):
            try:
                rows, bucket = self._form.taken(x)
            except SealgateError as refusal:
                refused[place] = refusal
                continue
            taken.append((rows, options, bucket))
        results = iter(self.batcher.submit_all(taken))
        return [refused.get(place) or next(results) for place in range(len(requests))]

    def refusal_of(self, request: QueueItem, ahead: Sequence[QueueItem]) -> SealgateError | None:
        """See `Batcher.refusal_of`."""
        return self.batcher.refusal_of(request, ahead)

    def costs(self) -> BatchCosts:
        """Measure the costs of batches, by running golden inputs of each size."""
        most = self.config.batching.max_rows
        return BatchCosts.measured(self._infer, self._golden.x, most, self._limits.lanes)

    def close(self, timeout: float | None = None) -> bool:
        """See `Batcher.close`."""
        return self.batcher.close(timeout)

    @property
    def is_given_up(self) -> bool:
        """Whether its sessions hang, so that it refuses everything."""
        return self.batcher.is_given_up

    def is_running_since(self, moment: float) -> bool:
        """See `Batcher.is_running_since`."""
        return self.batcher.is_running_since(moment)

    def end_runs(self, before: float) -> int:
        """See `Session.end_runs`; runs in other processes have their own limits."""
        return sum(each.end_runs(before) for each in self._sessions())

    def give_up(self) -> None:
        """See `Batcher.give_up`; the cores of its runs become free for others."""
        self.batcher.give_up()
        if self._cores is not None:
            self._cores.take_back(self)

    def take_over(self, fresh: "ReadyVersion") -> None:
        """Answer with the sessions of `fresh`, which was built from the same files, from now on."""
        self.served, self.response = fresh.served, fresh.response
        self._screening = fresh._screening
        self._earlier = self.counts()
        self.batcher = self._new_batcher()

    def _sizes_for(self, settings: RuntimeSettings) -> BatchSizes:
        """The sizes to which batches are padded with these settings."""
        most = self.config.batching.max_rows
        if settings.deterministic:
            return BatchSizes.steady(most, self._golden.x, partial(self._form.run, work=self._run))
        return BatchSizes.upto(most) if settings.cuda_graphs else BatchSizes()

    def _sessions(self) -> set[Session]:
        runs = (self.served, self.response, *self._screening.sessions)
        return {run for run in runs if isinstance(run, Session)}

    def _new_batcher(self) -> Batcher[Array, InferenceResult]:
        return Batcher(self._answer_measured, self._limits, self.capacity)

    def answer(self, requests: list[Array]) -> list[InferenceResult]:
        """One batch: screen and infer all rows together, then part them by request again."""
        return self._parted(requests, *self._infer(_gathered(requests)))

    def _answer_measured(self, requests: list[Array]) -> list[InferenceResult]:
        """The same for real requests, whose batch counts in the statistics."""
        begun = perf_counter_ns()
        x = _gathered(requests)
        gathered = perf_counter_ns()
        found = self._infer(x)
        inferred = perf_counter_ns()
        answers = self._parted(requests, *found)
        phases = BatchPhases(gathered - begun, inferred - gathered, perf_counter_ns() - inferred)
        self.statistics.executed(len(requests), len(x), phases)
        return answers

    def _infer(self, x: Array) -> tuple[Array, ...]:
        """The same as `_run`, in parts if memory cannot hold all."""
        return self._form.run(x, self._within_capacity)

    def _within_capacity(self, x: Array) -> tuple[Array, ...]:
        with self._cores.taken(self) if self._cores is not None else nullcontext():
            room = self._form.at_once(x)
            sized = partial(self._sizes.run, work=self._run, room=room)
            return self.capacity.run(x, sized, self._note_halved)

    def _note_halved(self) -> None:
        self.statistics.happened(RunFault.OUT_OF_MEMORY)
        _log.warning("%s: no memory for a batch; now up to %d", self.digest, self.capacity.rows())

    def _run(self, x: Array) -> tuple[Array, Array, Array]:
        """The logits, the features and the score of each row."""
        ran = self._screening.run(x, self.served, self.response, self._form)
        self.statistics.ran(ran.screening, ran.answering)
        self._check_shapes(len(x), ran.features, ran.logits)
        return ran.logits, ran.features, self.detector.scores(ran.features)

    def _check_shapes(self, rows: int, features: Array, logits: Array) -> None:
        """Check the shapes of answers: a graph may declare one shape and answer in another."""
        expected = (rows, self.detector.width), (rows, *self.config.output.row)
        if (features.shape, logits.shape) != expected:
            raise SealgateError(
                Reason.GRAPH_MISMATCH, "a graph's answer has another shape than it declares"
            )

    def _parted(self, requests: list[Array], *found: Array) -> list[InferenceResult]:
        logits, features, scores = found
        lengths = [len(rows) for rows in requests]
        return split_results(
            lengths, self.config.output.name, logits, features, scores, self.detector
        )


def _gathered(requests: list[Array]) -> Array:
    return requests[0] if len(requests) == 1 else np.concatenate(requests)
