"""The detector of a version: turns a row's screening features into a verdict.

The features of the response graph are scored (`inference.screening.scoring`), and two thresholds on
the score bound the rate of false alarms (`inference.screening.calibration`). A detector belongs to
one version, is a file of its manifest (`detector.json`, canonical JSON), and states what it was
fitted on and what its thresholds promise.

If the document has a field `first`, there are two stages. A row's features are those of the first
stage (`inference.screening.first_stage`), followed by those of the response graph, which are not
read if the first stage lets the row pass. Both stages give one joint score, on which the
calibration rests: at most 0 if the first stage decided, by how far it fell short of the cut; more
than 0, log(1 + exp(score)), if the response graph decided.

If the document has a field `disagreement`, a row's last feature says whether the INT8 class differs
from that of the float32 model whose response was measured (`disagreeing`). The field says what
follows. With `float32` the float32 logits leave for such a row, so that an attack on the rounding
alone gains nothing, and the score is the other features' alone. Versions of earlier releases
answer in INT8, and say what such a row becomes: adversarial, by a score above all others; suspect,
by the highest score that is not adversarial; or clean. Their thresholds rest on those scores. A row
that the first stage lets pass is not compared.

If the document has a field `least_margin`, float32 is asked by itself, and only about rows, of
either stage, whose INT8 logits are less than this apart. Of the rows that publishing saw, those
whose class rounding had turned had half of that margin at most. Where another server answers, it
is asked about all rows.

If the document has a field `refusal`, a row is adversarial only if it also looks made rather than
merely far from the training rows (`inference.screening.scoring.RefusalScore`). The level is above
the threshold of suspect rows, so such a row stays suspect. Versions of earlier releases have none.

A field `inputs` says how the calibration rows fill bins of each column
(`inference.screening.column_bins`). No score depends on it.

A version without screening has the detector `UNSCREENED`, which was fitted on nothing and finds
every row clean; its entries carry no verdict.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from inference.model.columns import number
from inference.screening import scoring
from inference.screening.calibration import Calibration, Floats, ScoreThreshold
from inference.screening.column_bins import ColumnBins
from inference.screening.first_stage import FEATURES, FirstStage
from inference.screening.scoring import (
    REFUSAL,
    FeatureScaling,
    RefusalScore,
    ScoreTail,
    Scoring,
    ScoringWeights,
)
from sealgate.trust import canonical, fields
from sealgate.trust.receipts.answer_entry import FLOAT32

TYPE = "sealgate/detector/v2"
_OPTIONAL = ("first", "disagreement", "inputs", "least_margin")
DISAGREEING = 1e9
"""The score of a row whose disagreement is adversarial: above what any features come to."""


class Verdict(StrEnum):
    """The result of screening; the policy decides what follows from it."""

    CLEAN = "clean"
    SUSPECT = "suspect"
    ADVERSARIAL = "adversarial"


Disagreement = Verdict | Literal["float32"]


def disagreeing(
    served: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """A feature [n]: 1 if the logits [n, C] of the answer and those of the float32 reference are
    largest for different classes, otherwise 0.
    """
    return (served.argmax(axis=1) != reference.argmax(axis=1)).astype(np.float32)


def is_near(logits: npt.NDArray[np.floating[Any]], least_margin: float) -> npt.NDArray[np.bool_]:
    """Of which rows [n] float32 is asked: those whose two largest INT8 logits [n, C] are less than
    this apart, or too far to say by how much.
    """
    ranked = np.partition(logits, -2, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        margin = ranked[:, -1] - ranked[:, -2]
    return np.asarray(~((margin >= least_margin) & (margin < np.inf)))


@dataclass(frozen=True, slots=True)
class Detector:
    """Scores features and judges scores. Immutable, so threads may share it."""

    scaling: FeatureScaling
    clean: ScoringWeights
    trained: ScoringWeights
    calibration: Calibration
    fitted_on: tuple[str, ...]
    first: FirstStage | None = None
    disagreement: Disagreement | None = None
    inputs: ColumnBins | None = None
    refusal: RefusalScore | None = None
    least_margin: float = 0.0
    _full: Scoring = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        full = Scoring(self.scaling, self.clean, self.trained, self.refusal)
        object.__setattr__(self, "_full", full)
        if self.first is not None and self.suspect_threshold < 0:
            raise fields.malformed("the first stage alone must not make a row suspect")
        limits = self.suspect_threshold, self.threshold
        if self.disagreement is Verdict.SUSPECT and limits[0] == limits[1]:
            raise fields.malformed("no score is suspect without being adversarial")
        if self.least_margin < 0 or (self.least_margin and self.disagreement != FLOAT32):
            raise fields.malformed("a margin of rows that are not compared with float32")
        if self.disagreement is Verdict.ADVERSARIAL and self.threshold >= DISAGREEING:
            raise fields.malformed("disagreement stays below its threshold")

    @property
    def screens(self) -> bool:
        """Whether there is any screening: a detector of features is fitted on attacks."""
        return bool(self.fitted_on)

    @property
    def width(self) -> int:
        """The number of features: of both stages, and the disagreement."""
        return self.first_width + self._full.width + int(self.disagreement is not None)

    @property
    def first_width(self) -> int:
        """How many of them, the first ones, belong to the first stage."""
        return FEATURES if self.first is not None else 0

    @property
    def threshold(self) -> float:
        """Above this score a row is adversarial."""
        return self.calibration.adversarial.threshold

    @property
    def suspect_threshold(self) -> float:
        """Above this score a row is at least suspect."""
        return self.calibration.suspect.threshold

    def scores(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """Score features [n, F]; returns float64 [n]; larger means more likely adversarial.

        A non-finite feature that is read makes its row's score NaN, which `verdict` treats as
        adversarial. Raises ValueError for another width: the graph was checked before.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features must be [n, {self.width}], not {features.shape}")
        if self.first is None:
            return self._compared(self.graph_scores(features), features)
        found = self.first.beyond(features[:, :FEATURES])
        on = ~(found <= 0)
        if on.any():
            with np.errstate(invalid="ignore"):
                # A value that was not measured stays NaN.
                joined = self.joined(self.graph_scores(features[on]))
            found[on] = self._compared(joined, features[on])
        return found

    def escalates(self, features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
        """Which rows [n] the first stage escalates to the response graph, by their features
        [n, F].
        """
        if self.first is None:
            return np.ones(len(features), np.bool_)
        return self.first.escalates(features[:, :FEATURES])

    @property
    def answers_float32(self) -> bool:
        """Whether the float32 logits leave where both models answer different classes."""
        return self.disagreement == FLOAT32

    @property
    def has_slower_rows(self) -> bool:
        """Whether what a row is decides how long it takes: the first stage escalates some rows, or
        float32 is asked about some.
        """
        return self.first is not None or self.least_margin > 0

    def answered_float32(
        self, features: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.bool_] | None:
        """For which rows [n] the float32 logits left, by their features [n, F]; None for none."""
        if self.disagreement != FLOAT32:
            return None
        apart = np.asarray(features[:, -1] == 1)
        return apart if apart.any() else None

    def graph_scores(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """The scores by the response graph alone, for features [n, F] that it measured on every
        row.
        """
        return self._full.scores(self._of_graph(features))

    def surprises(self, features: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
        """The surprises of the clean and the trained detector for the graph's features,
        each [n].
        """
        return self._full.surprises(self._of_graph(features))

    def verdict(self, score: float) -> Verdict:
        """Judge one score. NaN is adversarial: screening fails closed."""
        if not score <= self.threshold:
            return Verdict.ADVERSARIAL
        return Verdict.CLEAN if score <= self.suspect_threshold else Verdict.SUSPECT

    def encode(self) -> bytes:
        """Return the canonical JSON document."""
        value = {
            "type": TYPE,
            **self._full.value(),
            "calibration": self.calibration.value(),
            "fitted_on": list(self.fitted_on),
        }
        if self.first is not None:
            value["first"] = self.first.value()
        if self.disagreement is not None:
            value["disagreement"] = str(self.disagreement)
        if self.inputs is not None:
            value["inputs"] = self.inputs.value()
        if self.least_margin:
            value["least_margin"] = self.least_margin
        return canonical.encode(value)

    @classmethod
    def decode(cls, data: bytes) -> "Detector":
        """Read what `encode` wrote; anything else raises SealgateError(DOCUMENT_MALFORMED)."""
        value = canonical.decode(data)
        given = value if isinstance(value, dict) else {}
        more = [name for name in (*_OPTIONAL, REFUSAL) if name in given]
        top = fields.record(value, (*scoring.NAMES, "calibration", "fitted_on", *more), TYPE)
        full = Scoring.read(top)
        found = cls(
            full.scaling,
            full.clean,
            full.trained,
            Calibration.read(top["calibration"]),
            fields.texts(top["fitted_on"]),
            FirstStage.read(top["first"]) if "first" in top else None,
            _disagreement(top["disagreement"]) if "disagreement" in top else None,
            ColumnBins.read(top["inputs"]) if "inputs" in top else None,
            full.refusal,
            number(top["least_margin"]) if "least_margin" in top else 0.0,
        )
        if full.refusal and found.joined(full.refusal.level) <= found.suspect_threshold:
            raise fields.malformed("a row that is spared a refusal would not be suspect")
        return found

    def joined(self, score: Any) -> Any:
        """A score by the response graph alone, as the joint score of a row that it decided."""
        return score if self.first is None else np.logaddexp(0, score)

    def _of_graph(self, features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        return features[:, self.first_width : self.first_width + self._full.width]

    def _compared(self, scores: Floats, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """The scores [n] of rows that the graph decides, raised for answers that disagree."""
        if self.disagreement in (None, FLOAT32, Verdict.CLEAN):
            return scores
        adversarial = self.disagreement is Verdict.ADVERSARIAL
        level = DISAGREEING if adversarial else self.threshold
        # An engine's value other than 0 or 1 does not count as agreement.
        return np.where(features[:, -1] != 0, np.maximum(scores, level), scores)


def _unscreened() -> Detector:
    """Of one feature, which is always zero, as is the score."""
    none = ScoringWeights(0.0, (0.0,), (0.0,), ScoreTail(0.0, 1.0))
    limit = ScoreThreshold(0.05, 1, 0.0)
    limits = Calibration((0.0,) * 59, 0.6, limit, limit)
    return Detector(FeatureScaling((0.0,), (1.0,), 1.0), none, none, limits, ())


UNSCREENED = _unscreened()


def _disagreement(value: Any) -> Disagreement:
    if value == FLOAT32:
        return FLOAT32
    try:
        return Verdict(fields.text(value))
    except ValueError as error:
        raise fields.malformed("no such verdict") from error
