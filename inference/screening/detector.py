"""The detector of a version: from the features of a response graph to a verdict.

It is a logistic score, quadratic in the scaled features, with two thresholds that bound the rate of
false alarms on clean rows (see `inference.screening.conformal`). It belongs to one version, is a
file of its manifest (`detector.json`, canonical JSON), and states what it was fitted on and what
its thresholds promise.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.numbers import number, numbers
from inference.screening import conformal
from sealgate.trust import canonical, fields

TYPE = "sealgate/detector/v1"
Floats = npt.NDArray[np.float64]


class Verdict(StrEnum):
    """What screening found; what follows from it is for the policy to say."""

    CLEAN = "clean"
    SUSPECT = "suspect"
    ADVERSARIAL = "adversarial"


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold: the `rank`-th largest clean score, and the rate of false alarms it backs."""

    bound: float
    rank: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Both limits, set on the same `rows` clean rows, each holding with `confidence`."""

    rows: int
    confidence: float
    adversarial: Limit
    suspect: Limit

    def __post_init__(self) -> None:
        if not 1 <= self.rows < 2**31 or not 0.5 <= self.confidence < 1:
            raise fields.malformed("a calibration needs rows and a confidence of a half or more")
        for limit in (self.adversarial, self.suspect):
            if not 0 < limit.bound < 1 or limit.rank < 1:
                raise fields.malformed("a limit has a bound between 0 and 1 and a positive rank")
            if limit.rank > conformal.rank(self.rows, limit.bound, self.confidence):
                raise fields.malformed("a threshold claims a bound that its rank does not back")
        if self.suspect.threshold > self.adversarial.threshold:
            raise fields.malformed("suspect must come before adversarial")


@dataclass(frozen=True, slots=True)
class Scaling:
    """Where each feature lies on clean rows, how widely it spreads, and where it is cut off."""

    center: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float

    def __post_init__(self) -> None:
        if not self.center or len(self.center) != len(self.spread):
            raise fields.malformed("each feature needs a center and a spread")
        if min(self.spread) <= 0 or self.limit <= 0:
            raise fields.malformed("spreads and their limit must be positive")


@dataclass(frozen=True, slots=True)
class Weights:
    """score = bias + linear . z + z' Q z, where Q's upper triangle is `quadratic`, row by row."""

    bias: float
    linear: tuple[float, ...]
    quadratic: tuple[float, ...]

    def __post_init__(self) -> None:
        width = len(self.linear)
        if len(self.quadratic) != width * (width + 1) // 2:
            raise fields.malformed("the quadratic weights are not a triangle of the linear ones")


@dataclass(frozen=True, slots=True)
class Detector:
    """Scores features and judges scores. Immutable; safe to share between threads."""

    scaling: Scaling
    weights: Weights
    calibration: Calibration
    fitted_on: tuple[str, ...]
    _center: Floats = field(init=False, repr=False, compare=False)
    _inverse: Floats = field(init=False, repr=False, compare=False)
    _linear: Floats = field(init=False, repr=False, compare=False)
    _triangle: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = len(self.scaling.center)
        if len(self.weights.linear) != width:
            raise fields.malformed("there are not as many weights as features")
        triangle = np.zeros((width, width))
        triangle[np.triu_indices(width)] = self.weights.quadratic
        object.__setattr__(self, "_center", np.array(self.scaling.center))
        object.__setattr__(self, "_inverse", 1 / np.array(self.scaling.spread))
        object.__setattr__(self, "_linear", np.array(self.weights.linear))
        object.__setattr__(self, "_triangle", triangle)

    @property
    def width(self) -> int:
        """How many features it reads."""
        return len(self.scaling.center)

    @property
    def threshold(self) -> float:
        """Above this score a row is adversarial."""
        return self.calibration.adversarial.threshold

    @property
    def suspect_threshold(self) -> float:
        """Above this score a row is at least suspect."""
        return self.calibration.suspect.threshold

    def scores(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """Score features [n, F]; returns float64 [n], larger meaning likelier adversarial.

        A feature that is not finite makes its row's score NaN, which `verdict` reads as
        adversarial. Raises ValueError for another width: the graph was checked before.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features must be [n, {self.width}], not {features.shape}")
        z = (features - self._center) * self._inverse
        # An infinity would otherwise be cut off to an ordinary value.
        z[np.isinf(z)] = np.nan
        limit = self.scaling.limit
        np.minimum(np.maximum(z, -limit, out=z), limit, out=z)
        scores: Floats = ((z @ self._triangle + self._linear) * z).sum(axis=1) + self.weights.bias
        return scores

    def verdict(self, score: float) -> Verdict:
        """Judge one score. What is not a number is adversarial: screening fails closed."""
        if not score <= self.threshold:
            return Verdict.ADVERSARIAL
        return Verdict.CLEAN if score <= self.suspect_threshold else Verdict.SUSPECT

    def encode(self) -> bytes:
        """Return the canonical JSON document."""
        return canonical.encode(
            {
                "type": TYPE,
                "scaling": {
                    "center": list(self.scaling.center),
                    "spread": list(self.scaling.spread),
                    "limit": self.scaling.limit,
                },
                "weights": {
                    "bias": self.weights.bias,
                    "linear": list(self.weights.linear),
                    "quadratic": list(self.weights.quadratic),
                },
                "calibration": {
                    "rows": self.calibration.rows,
                    "confidence": self.calibration.confidence,
                    "adversarial": _limit_value(self.calibration.adversarial),
                    "suspect": _limit_value(self.calibration.suspect),
                },
                "fitted_on": list(self.fitted_on),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Detector":
        """Read what `encode` wrote; anything else raises Refusal(DOCUMENT_MALFORMED)."""
        top = fields.record(
            canonical.decode(data), ("scaling", "weights", "calibration", "fitted_on"), TYPE
        )
        return cls(
            _scaling(top["scaling"]),
            _weights(top["weights"]),
            _calibration(top["calibration"]),
            fields.texts(top["fitted_on"]),
        )


def _limit_value(limit: Limit) -> dict[str, Any]:
    return {"bound": limit.bound, "rank": limit.rank, "threshold": limit.threshold}


def _limit(value: Any) -> Limit:
    item = fields.record(value, ("bound", "rank", "threshold"))
    return Limit(number(item["bound"]), fields.integer(item["rank"]), number(item["threshold"]))


def _scaling(value: Any) -> Scaling:
    item = fields.record(value, ("center", "spread", "limit"))
    return Scaling(numbers(item["center"]), numbers(item["spread"]), number(item["limit"]))


def _weights(value: Any) -> Weights:
    item = fields.record(value, ("bias", "linear", "quadratic"))
    return Weights(number(item["bias"]), numbers(item["linear"]), numbers(item["quadratic"]))


def _calibration(value: Any) -> Calibration:
    item = fields.record(value, ("rows", "confidence", "adversarial", "suspect"))
    return Calibration(
        fields.integer(item["rows"]),
        number(item["confidence"]),
        _limit(item["adversarial"]),
        _limit(item["suspect"]),
    )
