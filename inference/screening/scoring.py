"""Scoring: combines two quadratic detectors into one score for a row's features.

The first is fitted on clean rows only and measures how far a row lies from them. The second is
trained on attacks and on benign changes. Each score is expressed in units of its tail on clean
rows, so that the two add like the logarithms of p-values in Fisher's method; the first has half the
weight.

A row that is merely far from the training rows looks like an attack to both. Where a detector was
also trained on such rows (images taken anew), its `refusal` has a say: a score rises above its
level only as far as that detector's rises too.
"""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from inference.model.columns import number, numbers
from inference.screening.calibration import Floats
from sealgate.trust import fields

# It catches what no attack that was shown is like, and takes benign changes for it.
CLEAN_WEIGHT = 0.5
NAMES, REFUSAL = ("scaling", "clean", "trained"), "refusal"
"""The fields of a document that `Scoring.value` writes; `REFUSAL` only where there is one."""
# Scores that do not vary on clean rows still need a unit.
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class FeatureScaling:
    """The location, spread and clipping of each feature on clean rows."""

    center: tuple[float, ...]
    spread: tuple[float, ...]
    limit: float

    def __post_init__(self) -> None:
        if not self.center or len(self.center) != len(self.spread):
            raise fields.malformed("each feature needs a center and a spread")
        if min(self.spread) <= 0 or self.limit <= 0:
            raise fields.malformed("spreads and their limit must be positive")


@dataclass(frozen=True, slots=True)
class ScoreTail:
    """The upper tail of a score on clean rows: its start, the median, and its rate of decay."""

    median: float
    decay: float

    def __post_init__(self) -> None:
        if self.decay <= 0:
            raise fields.malformed("a tail must decay")

    @classmethod
    def of(cls, scores: Floats) -> "ScoreTail":
        """The exponential tail through the median and the 95th percentile of clean scores [n]."""
        median, high = np.quantile(scores, [0.5, 0.95])
        return cls(float(median), float(max(high - median, _LEAST) / np.log(10)))

    def surprise(self, scores: Floats) -> Floats:
        """Minus the logarithm of each score's p-value, but for a constant."""
        found: Floats = (scores - self.median) / self.decay
        return found


@dataclass(frozen=True, slots=True)
class ScoringWeights:
    """A quadratic score: bias + linear . z + z' Q z, and the tail of its values.

    `quadratic` is Q's upper triangle, row by row.
    """

    bias: float
    linear: tuple[float, ...]
    quadratic: tuple[float, ...]
    tail: ScoreTail
    _linear: Floats = field(init=False, repr=False, compare=False)
    _triangle: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = len(self.linear)
        if len(self.quadratic) != width * (width + 1) // 2:
            raise fields.malformed("the quadratic weights are not a triangle of the linear ones")
        triangle = np.zeros((width, width))
        triangle[np.triu_indices(width)] = self.quadratic
        object.__setattr__(self, "_linear", np.array(self.linear))
        object.__setattr__(self, "_triangle", triangle)

    def polynomial(self, z: Floats) -> Floats:
        """Its value [n] for scaled features z [n, F]."""
        found: Floats = ((z @ self._triangle + self._linear) * z).sum(axis=1) + self.bias
        return found


@dataclass(frozen=True, slots=True)
class RefusalScore:
    """The odds of an attack against rows that are far from the training rows as well. A score above
    `level` is cut down to the score with these odds, and never below the level.
    """

    level: float
    odds: ScoringWeights


@dataclass(frozen=True, slots=True)
class Scoring:
    """`clean` is a squared distance, `trained` the logarithm of odds. Immutable."""

    scaling: FeatureScaling
    clean: ScoringWeights
    trained: ScoringWeights
    refusal: RefusalScore | None = None
    _center: Floats = field(init=False, repr=False, compare=False)
    _inverse: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = len(self.scaling.center)
        weights = [self.clean, self.trained]
        if self.refusal is not None:
            weights.append(self.refusal.odds)
        if {len(each.linear) for each in weights} != {width}:
            raise fields.malformed("there are not as many weights as features")
        object.__setattr__(self, "_center", np.array(self.scaling.center))
        object.__setattr__(self, "_inverse", 1 / np.array(self.scaling.spread))

    @property
    def width(self) -> int:
        """How many features it reads."""
        return len(self.scaling.center)

    def scores(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """Score features [n, F]; returns float64 [n], larger meaning likelier adversarial.

        A feature that is not finite makes its row's score NaN. Raises ValueError for another width.
        """
        z = self._scaled(features)
        distance = CLEAN_WEIGHT * self._distance(z)
        found: Floats = distance + self._odds(self.trained, z)
        if self.refusal is None:
            return found
        crafted = distance + self._odds(self.refusal.odds, z)
        return np.minimum(found, np.maximum(self.refusal.level, crafted))

    def surprises(self, features: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """The scores [n] of the clean and of the trained detector for features [n, F]."""
        z = self._scaled(features)
        return self._distance(z), self._odds(self.trained, z)

    def _scaled(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features must be [n, {self.width}], not {features.shape}")
        z: Floats = (features - self._center) * self._inverse
        # An infinity would otherwise be cut off to an ordinary value.
        z[np.isinf(z)] = np.nan
        limit = self.scaling.limit
        np.minimum(np.maximum(z, -limit, out=z), limit, out=z)
        return z

    def _distance(self, z: Floats) -> Floats:
        return self.clean.tail.surprise(np.log1p(np.maximum(self.clean.polynomial(z), 0)))

    @staticmethod
    def _odds(weights: ScoringWeights, z: Floats) -> Floats:
        return weights.tail.surprise(weights.polynomial(z))

    def value(self) -> dict[str, Any]:
        """As it stands in a document, under `NAMES` and, where there is one, `REFUSAL`."""
        refusal = {} if self.refusal is None else {REFUSAL: _refusal_value(self.refusal)}
        return {
            **refusal,
            "scaling": {
                "center": list(self.scaling.center),
                "spread": list(self.scaling.spread),
                "limit": self.scaling.limit,
            },
            "clean": _weights_value(self.clean),
            "trained": _weights_value(self.trained),
        }

    @classmethod
    def read(cls, item: dict[str, Any]) -> Self:
        """From a record that has `NAMES`, perhaps `REFUSAL`. Raises
        SealgateError(DOCUMENT_MALFORMED).
        """
        return cls(
            _scaling(item["scaling"]),
            _weights(item["clean"]),
            _weights(item["trained"]),
            _refusal(item[REFUSAL]) if REFUSAL in item else None,
        )


def _scaling(value: Any) -> FeatureScaling:
    item = fields.record(value, ("center", "spread", "limit"))
    return FeatureScaling(numbers(item["center"]), numbers(item["spread"]), number(item["limit"]))


def _refusal_value(refusal: RefusalScore) -> dict[str, Any]:
    return {"level": refusal.level, "odds": _weights_value(refusal.odds)}


def _refusal(value: Any) -> RefusalScore:
    item = fields.record(value, ("level", "odds"))
    return RefusalScore(number(item["level"]), _weights(item["odds"]))


def _weights_value(weights: ScoringWeights) -> dict[str, Any]:
    return {
        "bias": weights.bias,
        "linear": list(weights.linear),
        "quadratic": list(weights.quadratic),
        "tail": {"median": weights.tail.median, "decay": weights.tail.decay},
    }


def _weights(value: Any) -> ScoringWeights:
    item = fields.record(value, ("bias", "linear", "quadratic", "tail"))
    tail = fields.record(item["tail"], ("median", "decay"))
    return ScoringWeights(
        number(item["bias"]),
        numbers(item["linear"]),
        numbers(item["quadratic"]),
        ScoreTail(number(tail["median"]), number(tail["decay"])),
    )
