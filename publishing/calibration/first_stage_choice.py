"""Chooses whether a version gets a first stage of screening, by what it saves and what it loses.

1. Batches of BATCH rows are timed in processor time, not wall-clock time, so that other work on the
   machine does not decide. If the response graph on every row costs less than LEAST_SECONDS, there
   is no first stage.
2. Both stages score all rows that the detector was fitted on: clean, changed and attacked. The
   scores are cross-fitted, so that neither looks better than it is.
3. The cut is the lowest that escalates at most a share of the clean rows. Of the shares in SHARES,
   the smallest is used for which the joint score loses at most MOST_LOST of AUROC against the
   response graph on every row: over all attacks, and against an adaptive attacker who knows the
   stages and sends, of all attacks on a row, the one with the lowest score.
4. A row goes on, too, if its margin is below `least_margin` of these rows, unless float32 is asked
   by itself about such rows.
5. The stage is used if a share meets step 3 and both stages cost at most MOST_COST of the graph on
   every row.

The calibration slice takes no part, so thresholds set on its joint scores keep their bound
(`publishing.calibration.detector_fit`).

Cross-fitting: the projections of clean rows are fitted in four folds of the fit slice, and a row's
features come from projections that did not see it. So do the scores of both stages from weights
that did not see the row.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inference.batching import BatchCosts
from inference.model.inputs import InputForm
from inference.screening.calibration import Floats
from inference.screening.first_stage import (
    FEATURES,
    MARGIN,
    ClassProjections,
    FirstStage,
    RunOutputs,
)
from inference.screening.scoring import Scoring
from inference.text import tokens
from publishing.attacks.probe import Array
from publishing.attacks.probe import Floats as Floats32
from publishing.calibration.detector_fit import FitRows, RowSubset
from publishing.calibration.rounding_margin import TimedGraphs, least_margin
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


SHARES = (0.05, 0.1, 0.15, 0.2)
MOST_LOST = 0.01
MOST_COST = 0.5
# About a millisecond a row: below that a request costs as much in the gateway itself.
LEAST_SECONDS = 0.02
BATCH = 16
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Seconds for BATCH rows: `int8` and `float32` an answer, `graph` the response graph on every
    row, `staged` what both stages add to the answer on average.
    """

    int8: float
    float32: float
    graph: float
    staged: float

    def with_asking(self, share: float) -> "StageTiming":
        """The same where float32 is asked by itself about this share of rows."""
        more = share * self.float32
        return replace(self, graph=self.graph + more, staged=self.staged + more)


@dataclass(frozen=True, slots=True)
class StageChoice:
    """The result: a stage, whether or not it is used, with the share of clean rows that go on,
    and the AUROC that it loses over all attacks, on the worst of them, and to who knows it.
    """

    stage: FirstStage
    share: float
    lost: float
    most_lost: float
    auroc_drop_adaptive: float
    timing: StageTiming

    @property
    def pays(self) -> bool:
        timing = self.timing
        lost = max(self.lost, self.auroc_drop_adaptive)
        return lost <= MOST_LOST and timing.staged <= MOST_COST * timing.graph

    def value(self, taken: bool) -> dict[str, Any]:
        """For the screening report, which says whether it is taken: costs of a row in float32
        forwards, rounded.
        """
        one = self.timing.float32
        costs = {name: getattr(self.timing, name) / one for name in ("int8", "graph", "staged")}
        return {
            "first_stage": taken,
            "goes_on": self.share,
            "auroc_lost": round(self.lost, 4),
            "auroc_lost_most": round(self.most_lost, 4),
            "auroc_lost_to_knowing": round(self.auroc_drop_adaptive, 4),
            "forwards": {name: round(cost, 3) for name, cost in costs.items()},
        }


def choose_first_stage(
    seen: FitRows,
    vectors: ServedVectors,
    graphs: TimedGraphs,
    clock: Clock = time.process_time,
    least: float = LEAST_SECONDS,
    *,
    asked_below: float | None = None,
) -> StageChoice | None:
    """`asked_below`: the margin of rows about which float32 is asked by itself, if it is.

    None where the graph on every row costs less than `least`, where a class has too few rows to
    say how its vectors lie, or where attacks turned too few.
    """
    rows = _alike(seen.clean.rows)
    form = graphs.form
    graph = _cost(form, lambda part: graphs.response.run(form.screening(part)), rows, clock)
    if graph.seconds(BATCH) < least:
        return None
    crossed = CrossFitReadings.of(seen, vectors)
    if crossed is None:
        return None
    scores = StageScores(seen, crossed)
    share, lost, known = 0.0, [1.0], 1.0
    for share in SHARES:
        cut = scores.cut(share)
        lost, known = list(scores.lost(cut)), scores.auroc_drop_adaptive(cut)
        if max(float(np.mean(lost)), known) <= MOST_LOST:
            break
    margin = least_margin(seen, graphs) if asked_below is None else 0.0
    stage = FirstStage(crossed.readings, crossed.scoring(), scores.cut(share), margin)
    share = max(share, float(np.mean(stage.escalates(crossed.clean[0]))))
    asked = float(np.mean(crossed.clean[0][:, MARGIN] < (asked_below or 0.0)))
    timing = _timed(stage, share, vectors, graphs, graph, rows, clock).with_asking(asked)
    return StageChoice(stage, share, float(np.mean(lost)), max(lost), known, timing)


def _alike(rows: Array) -> Array:
    """A batch of rows that would share one: of texts, those of about the median length."""
    if rows.dtype != np.int64:
        return rows[:BATCH]
    lengths = tokens.lengths(rows)
    near = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
    return rows[near[:BATCH]]


def _cost(
    form: InputForm, work: Callable[[Array], object], rows: Array, clock: Clock
) -> BatchCosts:
    def run(part: Array) -> tuple[Array, ...]:
        work(part)
        return (part,)

    return BatchCosts.measured(lambda part: form.run(part, run), rows, BATCH, 1, clock)


def _timed(
    stage: FirstStage,
    share: float,
    vectors: ServedVectors,
    graphs: TimedGraphs,
    graph: BatchCosts,
    rows: Array,
    clock: Clock,
) -> StageTiming:
    form = graphs.form

    def read(part: Array) -> None:
        shown = vectors.tapped.run(form.serving(part))
        stage.escalates(stage.readings.features(shown, vectors.weight))

    int8, float32, first = (
        _cost(form, work, rows, clock).seconds(BATCH)
        for work in (
            lambda part: graphs.int8.run(form.serving(part)),
            lambda part: graphs.float32.run(form.serving(part)),
            read,
        )
    )
    going = sum(
        math.comb(BATCH, count)
        * share**count
        * (1 - share) ** (BATCH - count)
        # The number of rows that are escalated.
        * graph.seconds(count)
        for count in range(1, BATCH + 1)
    )
    return StageTiming(int8, float32, graph.seconds(BATCH), max(0.0, first - int8) + going)
