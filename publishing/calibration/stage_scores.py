"""Cross-fitted scores of both screening stages, so that neither looks better than it is.

Inputs and vectors are taken from all rows that the detector was fitted on: clean, changed and
attacked. The projections of clean rows are fitted in four folds of the fit slice: a row's features
come from projections that did not see it. The scores of both stages come from weights that did not
see the row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.screening.calibration import Floats
from inference.screening.first_stage import FEATURES, ClassProjections, RunOutputs
from inference.screening.scoring import Scoring
from publishing.calibration.detector_fit import FitRows, RowSubset
from publishing.calibration.probe import Array
from publishing.calibration.probe import Floats as Floats32
from publishing.calibration.scoring_fit import fit_scoring
from publishing.calibration.screening_report import auroc
from publishing.calibration.served_rows import LEAST_ROWS, ServedVectors, fit_readings

_FOLDS = 4
Parts = Sequence[tuple[Floats32, Array]]


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitReadings:
    """The readings of all clean rows; and by kind the features [m, FEATURES] of rows, each from
    readings that did not see it, with the fold [m] that did not.
    """

    readings: ClassProjections
    clean: tuple[Floats32, Array]
    shifted: list[tuple[Floats32, Array]]
    harmful: Mapping[str, tuple[Floats32, Array]]

    @classmethod
    def of(cls, seen: FitRows, vectors: ServedVectors) -> "CrossFitReadings | None":
        clean = vectors.of_rows(seen.clean.rows)
        folds = np.arange(len(clean.logits)) % _FOLDS
        turned = np.concatenate([folds[part.places] for part in seen.harmful.values()])
        readings = []
        for fold in range(_FOLDS):
            found = fit_readings(_some(clean, folds != fold))
            if found is None or np.count_nonzero(turned != fold) < LEAST_ROWS:
                return None
            readings.append(found)
        whole = fit_readings(clean)
        if whole is None:
            return None

        def of(part: RowSubset) -> tuple[Floats32, Array]:
            held, shown = folds[part.places], vectors.of_rows(part.rows)
            found = np.empty((len(held), FEATURES), np.float32)
            for fold, each in enumerate(readings):
                at = held == fold
                if at.any():
                    found[at] = each.features(_some(shown, at), vectors.weight)
            return found, held

        harmful = {name: of(part) for name, part in seen.harmful.items()}
        return cls(whole, of(seen.clean), [of(part) for part in seen.shifted], harmful)

    def scoring(self) -> Scoring:
        """The first stage's, fitted on all rows."""
        return _fitted([self.clean, *self.shifted], [*self.harmful.values()], None)


def _fitted(clean: Parts, harmful: Parts, without: int | None) -> Scoring:
    """Fitted on clean rows, the first of `clean`, the same under changes, and attacked ones; but
    not on those of one fold.
    """
    near, *shifted = (_kept(part, without) for part in clean)
    attacked = np.concatenate([_kept(part, without) for part in harmful])
    return fit_scoring(near, np.concatenate([near, near, *shifted]), attacked)


def _kept(part: tuple[Floats32, Array], without: int | None) -> Floats32:
    features, folds = part
    return features if without is None else features[folds != without]


def _some(shown: RunOutputs, at: Array) -> RunOutputs:
    return RunOutputs(*(each[at] for each in shown))


class StageScores:
    """The scores of each stage for clean and attacked rows."""

    def __init__(self, seen: FitRows, crossed: CrossFitReadings) -> None:
        parts = [crossed.clean, *crossed.shifted], [*crossed.harmful.values()]
        self._first, *first = _held_out(*parts)

        def graph(part: RowSubset) -> tuple[Floats32, Array]:
            return part.features, part.places % _FOLDS

        parts = [graph(seen.clean), *map(graph, seen.shifted)], [*map(graph, seen.harmful.values())]
        self._graph, *others = _held_out(*parts)
        self._attacks = list(zip(first, others, strict=True))
        self._places = [part.places for part in seen.harmful.values()]

    def cut(self, share: float) -> float:
        """The score that this share of clean rows exceeds."""
        return float(np.quantile(self._first, 1 - share, method="higher"))

    def lost(self, cut: float) -> Iterator[float]:
        """By how much each attack's AUROC is lower with the first stage than without."""
        clean = _joined(self._first, self._graph, cut)
        for first, graph in self._attacks:
            joined = _joined(first, graph, cut)
            yield auroc(self._graph, graph) - auroc(clean, joined)

    def auroc_drop_adaptive(self, cut: float) -> float:
        """The same where each row that some attack turned is sent as what scores least."""
        clean = _joined(self._first, self._graph, cut)
        joined = self._least([_joined(*each, cut) for each in self._attacks])
        graph = self._least([graph for _, graph in self._attacks])
        return auroc(self._graph, graph) - auroc(clean, joined)

    def _least(self, scores: Sequence[Floats]) -> Floats:
        """Of scores by attack, the least of each row that was turned."""
        found = np.full(len(self._graph), np.inf)
        for places, each in zip(self._places, scores, strict=True):
            np.minimum.at(found, places, each)
        return found[np.isfinite(found)]


def _held_out(clean: Parts, harmful: Parts) -> list[Floats]:
    """The scores of clean rows, then of each attack's, by scorings that were not fitted on them."""
    scorings = [_fitted(clean, harmful, fold) for fold in range(_FOLDS)]
    found = []
    for features, folds in (clean[0], *harmful):
        scores = np.empty(len(features))
        for fold, scoring in enumerate(scorings):
            scores[folds == fold] = scoring.scores(features[folds == fold])
        found.append(scores)
    return found


def _joined(first: Floats, graph: Floats, cut: float) -> Floats:
    """As `Detector.scores` joins them."""
    return np.where(first <= cut, first - cut, np.logaddexp(0, graph))
