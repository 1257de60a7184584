"""The result of one inference request: outputs, verdicts and timings."""

from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from inference.screening.detector import Detector, Verdict
from sealgate.trust.receipts.answer_entry import FLOAT32, MIXED

Array = npt.NDArray[Any]


class InferenceResult(NamedTuple):
    """The engine's result for one request.

    `outputs` are by name, [n, …]; `features` [n, F] are the screening features; `score` is the
    highest of the request's rows, and `verdict` belongs to that row; a row whose score exceeds
    `threshold` is adversarial. Callers receive the outputs only. `engine` says where the answer was
    computed, if that can differ between answers of one version. `graph_rows` is the number of rows
    that the response graph decided, not the first stage. `float32_rows` is the number of rows
    answered with float32 logits, because the INT8 class differs.
    """

    outputs: dict[str, Array]
    features: Array
    score: float
    verdict: Verdict
    threshold: float
    engine: str = ""
    graph_rows: int = 0
    float32_rows: int = 0

    def arithmetic(self, usual: str) -> str:
        """The arithmetic that computed the outputs; `usual` is the version's own."""
        if not self.float32_rows or usual == FLOAT32:
            return usual
        return FLOAT32 if self.float32_rows == len(self.features) else MIXED

    @classmethod
    def judged(
        cls, outputs: dict[str, Array], features: Array, detector: Detector, engine: str = ""
    ) -> Self:
        """The result that follows from one request's outputs and features."""
        # A NaN among the rows' scores stays one.
        score = float(detector.scores(features).max())
        verdict, on = detector.verdict(score), int(detector.escalates(features).sum())
        apart = detector.answered_float32(features)
        float32 = 0 if apart is None else int(apart.sum())
        return cls(outputs, features, score, verdict, detector.threshold, engine, on, float32)


def split_results(
    lengths: Sequence[int],
    output: str,
    logits: Array,
    features: Array,
    scores: Array,
    detector: Detector,
    engine: str = "",
) -> list[InferenceResult]:
    """A batch's logits [n, C], features [n, F] and scores [n], by request: each has one of the
    `lengths`, whose sum is n. `engine` computed them all.
    """
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    if len(lengths) < len(logits):
        # The highest score of each request's rows; a NaN among them stays one.
        scores = np.maximum.reduceat(scores, bounds[:-1])
    on, apart = detector.escalates(features), detector.answered_float32(features)
    graph = _counts(on, bounds)
    threshold = detector.threshold
    float32 = repeat(0, len(lengths)) if apart is None else _counts(apart, bounds)
    return [
        InferenceResult(
            {output: logits[start:stop]},
            features[start:stop],
            score,
            detector.verdict(score),
            threshold,
            engine,
            *counts,
        )
        for (start, stop), score, *counts in zip(
            pairwise(bounds), scores.tolist(), graph, float32, strict=True
        )
    ]


def _counts(marked: Array, bounds: Sequence[int]) -> list[int]:
    """How many rows [n] are marked, by request; the requests have rows."""
    return np.add.reduceat(marked, bounds[:-1], dtype=np.int64).tolist()
