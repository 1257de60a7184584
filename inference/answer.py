"""What the engine room found for one request."""

from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from inference.screening.detector import Detector, Verdict

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine room found for one request.

    `outputs` by name, [n, …]; `features` [n, F] are what screening measured; `score` is the highest
    of the request's rows and `verdict` that row's; `threshold` is the score above which a row is
    adversarial. All but the outputs are not for the caller. `engine` says where it was computed,
    where that is not the same for all answers of its version.
    """

    outputs: dict[str, Array]
    features: Array
    score: float
    verdict: Verdict
    threshold: float
    engine: str = ""

    @classmethod
    def judged(
        cls, outputs: dict[str, Array], features: Array, detector: Detector, engine: str = ""
    ) -> Self:
        """The answer that follows from one request's outputs and features."""
        # A NaN among the rows' scores stays one.
        score = float(detector.scores(features).max())
        return cls(outputs, features, score, detector.verdict(score), detector.threshold, engine)
