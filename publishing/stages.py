"""Whether a version gets a first stage of screening, and which: by what it saves and what it loses.

1. Batches of BATCH rows are timed, by what the processor does and not by the clock on the wall,
   since other work on the machine must not decide. Where the graph on every row costs less than
   LEAST_SECONDS, there is no first stage.
2. Inputs and vectors are taken of all rows that the detector was fitted on: clean, changed,
   attacked. Readings of clean ones are fitted by four folds of the fit slice: a row's features come
   from readings that did not see it. The scores of both stages come from weights that did not see
   the row, so that neither is flattered.
3. The cut is the least that lets no more than a share of clean rows go on, of the shares in SHARES
   the smallest for which the joined score loses, over all attacks, MOST_LOST of AUROC at most
   against the response graph on every row.
4. The stage is taken where that is reached, and both stages cost MOST_COST of the graph on every
   row at most.

The calibration slice takes no part, so that thresholds set on the joined scores of it keep their
bound (`publishing.calibrate`).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference import tokens
from inference.costs import Costs
from inference.forms import Form
from inference.runtime import Session
from inference.screening.calibration import Floats
from inference.screening.first_stage import FEATURES, FirstStage, Readings, Shown
from inference.screening.scoring import Scoring
from publishing.calibrate import Part, Seen, fit_scoring
from publishing.probe import Array
from publishing.probe import Floats as Floats32
from publishing.screening_report import auroc
from publishing.vectors import LEAST_ROWS, Vectors, fit_readings

SHARES = (0.05, 0.1, 0.15, 0.2)
MOST_LOST = 0.01
MOST_COST = 0.5
# About a millisecond a row: below that a request costs as much in the gateway itself.
LEAST_SECONDS = 0.02
BATCH = 16
_FOLDS = 4
Clock = Callable[[], float]
Parts = Sequence[tuple[Floats32, Array]]


@dataclass(frozen=True, slots=True)
class Graphs:
    """What is timed: the INT8 graph as it answers, float32 beside it, and the response graph as it
    screens.
    """

    int8: Session
    float32: Session
    response: Session
    form: Form


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds for BATCH rows: `int8` and `float32` an answer, `graph` the response graph on every
    row, `staged` what both stages add to the answer on average.
    """

    int8: float
    float32: float
    graph: float
    staged: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was found: a stage, whether or not it is taken, with the share of clean rows that go on,
    and the AUROC that it loses over all attacks and on the worst of them.
    """

    stage: FirstStage
    share: float
    lost: float
    most_lost: float
    timing: Timing

    @property
    def pays(self) -> bool:
        timing = self.timing
        return self.lost <= MOST_LOST and timing.staged <= MOST_COST * timing.graph

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
            "forwards": {name: round(cost, 3) for name, cost in costs.items()},
        }


def choose(
    seen: Seen,
    vectors: Vectors,
    graphs: Graphs,
    clock: Clock = time.process_time,
    least: float = LEAST_SECONDS,
) -> Chosen | None:
    """None where the graph on every row costs less than `least`, where a class has too few rows to
    say how its vectors lie, or where attacks turned too few.
    """
    rows = _alike(seen.clean.rows)
    form = graphs.form
    graph = _cost(form, lambda part: graphs.response.run(form.screening(part)), rows, clock)
    if graph.seconds(BATCH) < least:
        return None
    crossed = _Crossed.of(seen, vectors)
    if crossed is None:
        return None
    scores = _Scores(seen, crossed)
    share, lost = 0.0, [1.0]
    for share in SHARES:
        lost = list(scores.lost(scores.cut(share)))
        if np.mean(lost) <= MOST_LOST:
            break
    stage = FirstStage(crossed.readings, crossed.scoring(), scores.cut(share))
    timing = _timed(stage, share, vectors, graphs, graph, rows, clock)
    return Chosen(stage, share, float(np.mean(lost)), max(lost), timing)


@dataclass(frozen=True, slots=True, eq=False)
class _Crossed:
    """The readings of all clean rows; and by kind the features [m, FEATURES] of rows, each from
    readings that did not see it, with the fold [m] that did not.
    """

    readings: Readings
    clean: tuple[Floats32, Array]
    shifted: list[tuple[Floats32, Array]]
    harmful: Mapping[str, tuple[Floats32, Array]]

    @classmethod
    def of(cls, seen: Seen, vectors: Vectors) -> "_Crossed | None":
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

        def of(part: Part) -> tuple[Floats32, Array]:
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


def _some(shown: Shown, at: Array) -> Shown:
    return Shown(*(each[at] for each in shown))


class _Scores:
    """What each stage says of clean and attacked rows, neither having been fitted to flatter."""

    def __init__(self, seen: Seen, crossed: _Crossed) -> None:
        parts = [crossed.clean, *crossed.shifted], [*crossed.harmful.values()]
        self._first, *first = _held_out(*parts)

        def graph(part: Part) -> tuple[Floats32, Array]:
            return part.features, part.places % _FOLDS

        parts = [graph(seen.clean), *map(graph, seen.shifted)], [*map(graph, seen.harmful.values())]
        self._graph, *others = _held_out(*parts)
        self._attacks = list(zip(first, others, strict=True))

    def cut(self, share: float) -> float:
        """The score that this share of clean rows exceeds."""
        return float(np.quantile(self._first, 1 - share, method="higher"))

    def lost(self, cut: float) -> Iterator[float]:
        """By how much each attack's AUROC is lower with the first stage than without."""
        clean = _joined(self._first, self._graph, cut)
        for first, graph in self._attacks:
            joined = _joined(first, graph, cut)
            yield auroc(self._graph, graph) - auroc(clean, joined)


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


def _alike(rows: Array) -> Array:
    """A batch of rows that would share one: of texts, those of about the median length."""
    if rows.dtype != np.int64:
        return rows[:BATCH]
    lengths = tokens.lengths(rows)
    near = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")
    return rows[near[:BATCH]]


def _cost(form: Form, work: Callable[[Array], object], rows: Array, clock: Clock) -> Costs:
    def run(part: Array) -> tuple[Array, ...]:
        work(part)
        return (part,)

    return Costs.measured(lambda part: form.run(part, run), rows, BATCH, 1, clock)


def _timed(
    stage: FirstStage,
    share: float,
    vectors: Vectors,
    graphs: Graphs,
    graph: Costs,
    rows: Array,
    clock: Clock,
) -> Timing:
    form = graphs.form

    def read(part: Array) -> None:
        shown = vectors.tapped.run(form.serving(part))
        stage.goes_on(stage.readings.features(shown, vectors.weight))

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
        # Of so many rows, so many go on.
        * graph.seconds(count)
        for count in range(1, BATCH + 1)
    )
    return Timing(int8, float32, graph.seconds(BATCH), max(0.0, first - int8) + going)
