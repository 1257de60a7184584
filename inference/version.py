"""A version made ready to answer: its graphs loaded, held against one another, and warmed.

The files of a version, all of them in its manifest:

    model.json           what it is and how it wants to be run (inference.model_config)
    model.int8.onnx      what answers
    model.fp32.onnx      the marked float32 model that the INT8 one was made from
    response.onnx        the screening graph of the same weights (inference.screening.contract)
    detector.json        what reads that graph's features (inference.screening.detector)
    golden.safetensors   `x` [n, …] and the `logits` [n, C] that the INT8 graph gave for them
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from inference.batcher import Batcher, Limits
from inference.cpu import CpuSettings
from inference.golden import Golden
from inference.model_config import ModelConfig
from inference.pruning import keep_outputs
from inference.runtime import Session, scalar
from inference.screening import contract
from inference.screening.detector import Detector, Verdict
from inference.statistics import Phases, Statistics
from sealgate.reasons import Reason, Refusal

MODEL = "model.json"
INT8 = "model.int8.onnx"
FP32 = "model.fp32.onnx"
RESPONSE = "response.onnx"
DETECTOR = "detector.json"
GOLDEN = "golden.safetensors"
FILES = frozenset({MODEL, INT8, FP32, RESPONSE, DETECTOR, GOLDEN})

# INT8 answers repeat bit for bit on one machine. Another machine may round the float operations
# around the integer kernels differently, by no more than this (absolute and relative).
GOLDEN_TOLERANCE = 1e-5
# The first golden rows are run alone and by threes as well: their company must not matter.
_COMPANY_SIZES = (1, 3)
_COMPANY_ROWS = 12

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine room found for one request.

    `outputs` by name, [n, …]; `score` is the highest of the request's rows and `verdict` that
    row's; `threshold` is the score above which a row is adversarial. Neither is for the caller.
    """

    outputs: dict[str, Array]
    score: float
    verdict: Verdict
    threshold: float


class ReadyVersion:
    """A loaded version. It answers as long as anyone refers to it, and holds no thread."""

    __slots__ = (
        "_feeds",
        "_own",
        "_response",
        "_served",
        "batcher",
        "config",
        "detector",
        "digest",
        "statistics",
    )

    def __init__(
        self,
        digest: str,
        config: ModelConfig,
        detector: Detector,
        served: Session,
        response: Session,
        lanes: int,
    ) -> None:
        self.digest = digest
        self.config = config
        self.detector = detector
        self._served = served
        self._response = response
        self._own = np.full(config.batching.max_rows, contract.OWN_PREDICTION, np.int64)
        self._feeds = {
            contract.EPS: scalar(config.eps),
            contract.CLIP_MIN: scalar(config.domain.min),
            contract.CLIP_MAX: scalar(config.domain.max),
        }
        batching = config.batching
        limits = Limits(batching.max_rows, batching.queue_rows, batching.delay_us / 1e6, lanes)
        self.batcher: Batcher[Array, Answer] = Batcher(self._answer_measured, limits)
        self.statistics = Statistics()

    @classmethod
    def build(cls, digest: str, files: Mapping[str, bytes], cpu: CpuSettings) -> Self:
        """Make the version of `digest` ready from its files, which have been admitted.

        1. `model.json` and `detector.json` are well-formed (DOCUMENT_MALFORMED).
        2. The graphs are plain ONNX that loads (FORMAT_REFUSED, EXTERNAL_DATA).
        3. The response graph is one, of this model's sizes and this detector's (GRAPH_MISMATCH).
        4. Its forward is the float32 model's on the golden inputs (GRAPH_MISMATCH).
        5. The INT8 graph gives the golden answers, in any company (GOLDEN_MISMATCH).
        6. Screening gives each golden input a score (GRAPH_MISMATCH).

        The runs of steps 4 to 6 warm the graphs as well.
        """
        # 1.
        config = ModelConfig.decode(files[MODEL])
        detector = Detector.decode(files[DETECTOR])
        golden = Golden.decode(files[GOLDEN], config)
        # 2.
        spread = cpu.spread(len(files[INT8]))
        served = _classifier(files[INT8], config, spread.threads)
        float32 = _classifier(files[FP32], config, spread.threads)
        outputs = (contract.LOGITS, contract.FEATURES)
        whole = Session.open(files[RESPONSE], outputs, spread.threads)
        features = keep_outputs(files[RESPONSE], (contract.FEATURES,))
        response = Session.open(features, (contract.FEATURES,), spread.threads)
        # 3.
        classes = config.output.row[0]
        shape = contract.check_response_graph(files[RESPONSE], config.input.row, classes)
        if shape.features != detector.width:
            raise Refusal(Reason.GRAPH_MISMATCH, "the detector reads another number of features")
        version = cls(digest, config, detector, served, response, spread.lanes)
        # 4.
        version._check_response(float32, whole, golden)
        # 5. and 6.
        version._check_answers(golden)
        return version

    def _check_response(self, float32: Session, whole: Session, golden: Golden) -> None:
        """`whole` is the response graph as it was signed; requests run a pruned one."""
        for x, _ in golden.batches(self.config.batching.max_rows):
            feeds = self._screening_feeds(x)
            expected, (logits, features) = (
                float32.run({self.config.input.name: x}),
                whole.run(feeds),
            )
            contract.check_same_forward(expected[0], logits)
            (pruned,) = self._response.run(feeds)
            if not np.allclose(pruned, features, rtol=1e-4, atol=1e-4, equal_nan=True):
                raise Refusal(Reason.GRAPH_MISMATCH, "the features need what was pruned")

    def _check_answers(self, golden: Golden) -> None:
        output = self.config.output.name
        whole = [self._answer([x])[0] for x, _ in golden.batches(self.config.batching.max_rows)]
        if not np.isfinite([answer.score for answer in whole]).all():
            raise Refusal(Reason.GRAPH_MISMATCH, "a golden input has no score")
        logits = np.concatenate([answer.outputs[output] for answer in whole])
        golden.check(logits, GOLDEN_TOLERANCE)
        first = min(_COMPANY_ROWS, len(logits))
        for size in _COMPANY_SIZES:
            size = min(size, self.config.batching.max_rows)
            parts = [golden.x[at : min(at + size, first)] for at in range(0, first, size)]
            alone = np.concatenate([self._answer([part])[0].outputs[output] for part in parts])
            if not np.array_equal(alone, logits[: len(alone)]):
                raise Refusal(Reason.GOLDEN_MISMATCH, f"answers change in batches of {size}")

    def _screening_feeds(self, x: Array) -> dict[str, Array]:
        return {contract.X: x, contract.LABEL: self._own[: len(x)], **self._feeds}

    def _answer(self, requests: list[Array]) -> list[Answer]:
        """One batch: screen and infer all rows together, then part them by request again."""
        logits, scores = self._infer(_gathered(requests))
        return self._parted(requests, logits, scores)

    def _answer_measured(self, requests: list[Array]) -> list[Answer]:
        """The same for requests from outside, whose batch counts in the statistics."""
        clock = time.perf_counter_ns
        begun = clock()
        x = _gathered(requests)
        gathered = clock()
        logits, scores = self._infer(x)
        inferred = clock()
        answers = self._parted(requests, logits, scores)
        phases = Phases(gathered - begun, inferred - gathered, clock() - inferred)
        self.statistics.executed(len(requests), len(x), phases)
        return answers

    def _infer(self, x: Array) -> tuple[Array, Array]:
        """The logits and the score of each row."""
        (features,) = self._response.run(self._screening_feeds(x))
        (logits,) = self._served.run({self.config.input.name: x})
        self._check_shapes(len(x), features, logits)
        return logits, self.detector.scores(features)

    def _check_shapes(self, rows: int, features: Array, logits: Array) -> None:
        """A graph may declare one shape and answer in another, which no loading finds out."""
        expected = (rows, self.detector.width), (rows, *self.config.output.row)
        if (features.shape, logits.shape) != expected:
            raise Refusal(Reason.GRAPH_MISMATCH, "a graph answers in another shape than it says")

    def _parted(self, requests: list[Array], logits: Array, scores: Array) -> list[Answer]:
        bounds = [0]
        for rows in requests:
            bounds.append(bounds[-1] + len(rows))
        if len(requests) < len(logits):
            # The highest score of each request's rows; a NaN among them stays one.
            scores = np.maximum.reduceat(scores, bounds[:-1])
        output, judge = self.config.output.name, self.detector.verdict
        threshold = self.detector.threshold
        return [
            Answer({output: logits[start:stop]}, score, judge(score), threshold)
            for (start, stop), score in zip(pairwise(bounds), scores.tolist(), strict=True)
        ]


def _gathered(requests: list[Array]) -> Array:
    return requests[0] if len(requests) == 1 else np.concatenate(requests)


def _classifier(graph: bytes, config: ModelConfig, threads: int) -> Session:
    session = Session.open(graph, (config.output.name,), threads)
    if session.inputs != {config.input.name}:
        raise Refusal(Reason.GRAPH_MISMATCH, f"the graph takes {sorted(session.inputs)}")
    return session
