"""Fits a version's detector on its own response graph, and bounds its false alarms.

1. Attack the fit slice with the graph itself, from the model's own answers (see
   `publishing.attacks.probe`). Only rows whose answer changed count as attacks.
2. Compare them with the clean fit slice, and with the same rows under benign changes, including
   noise of the same norms. Otherwise the detector would learn to see noise, which is no attack.
3. Fit a distance to the clean rows, which uses no attack, and a logistic score, quadratic in the
   scaled features, with equal weight for each class. Of images the distance weighs less, of texts
   hardly at all. Of images fit another score, which also sees images taken anew as harmless: what
   it does not take for an attack may be suspect, but is not refused.
4. Set both thresholds on the calibration slice, which took no part in the fit, with
   `inference.screening.calibration`; the upper one holds under each benign change, except noise as
   large as an attack, which is shown in the fit alone.

If answers are compared with the float32 model's, that one's leaves where both disagree. Such a row
needs no alarm, so disagreement takes no part in the score.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.model.config import CLASSES, InputDomain
from inference.model.decisions import Decision
from inference.screening import calibration
from inference.screening.calibration import (
    SHIFT_BOUND,
    BenignShift,
    Calibration,
    Floats,
    ScoreThreshold,
)
from inference.screening.detector import Detector
from inference.screening.gradient_attacks import AttackSession, Rows
from inference.screening.scoring import RefusalScore
from publishing.attacks import Probe, Prober
from publishing.attacks.image_changes import CHANGES, RETAKEN
from publishing.attacks.probe import BEYOND, Array
from publishing.attacks.probe import Floats as Floats32
from publishing.calibration.scoring_fit import fit_scoring
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FLOAT32

# A threshold's rate of false alarms is more likely below its bound than not, and on average below
# it. Surer ranks give the budget away: with 480 rows, 95% confidence leaves .4% of 1% to use.
CONFIDENCE = 0.6
# From this many rows on, the rate of a 1% bound is below 2.1% at 95% confidence; from the least on,
# that of a 5% bound is below 10%.
MANY_ROWS, LEAST_CALIBRATION_ROWS = 299, 59
# By how much less the distance weighs. Of images taken anew it takes many for attacks. Of texts it
# says so little that it only drowns the odds: without it, of attacks that were left out of the fit
# in turn, .67 were caught at 5% instead of .60 on e-mails, and .35 instead of .29 on tweets.
_STRETCHED_IMAGES, _STRETCHED_TEXTS = 5.0, 1000.0
# By how much a row that is spared a refusal exceeds the threshold of suspect rows.
_ABOVE = 1e-6


def fit_detector(
    session: AttackSession,
    x_fit: Rows,
    x_calibration: Rows,
    domain: InputDomain,
    eps: float,
    generator: np.random.Generator,
) -> Detector:
    """Return the detector of the graph in `session`: see `fit`."""
    return fit(Probe(session, eps, domain), x_fit, x_calibration, generator)


def fit(
    probe: Prober,
    x_fit: Array,
    x_calibration: Array,
    generator: np.random.Generator,
    *,
    compared: bool = False,
) -> Detector:
    """Return the detector of the graph in `probe`; x_fit and x_calibration share no row. Where
    answers are `compared`, the last feature says where they disagree.

    Raises CALIBRATION_TOO_SMALL where there are too few clean rows (59 are the least), or where no
    attack succeeds, so that there is nothing to tell from clean rows.
    """
    seen = attack_fit_rows(probe, x_fit, generator, compared=compared)
    draft = draft_detector(seen)
    return set_thresholds(draft, probe, x_calibration, generator)


@dataclass(frozen=True, slots=True, eq=False)
class RowSubset:
    """Rows [m, ...] that are, or were made from, those at `places` [m] of the fit slice."""

    rows: Array
    places: Array
    features: Array


@dataclass(frozen=True, slots=True, eq=False)
class FitRows:
    """The rows that a detector is fitted on: the clean fit slice, the same under each benign
    change, and for each attack, by its name, the rows whose answer it changed. `compared`: whether
    the rows' answers are. `stretch`: by how much less the distance to clean rows weighs. Images may
    also have been `retaken`.
    """

    clean: RowSubset
    shifted: tuple[RowSubset, ...]
    harmful: Mapping[str, RowSubset]
    compared: bool = False
    stretch: float = 1.0
    retaken: tuple[RowSubset, ...] = ()


def attack_fit_rows(
    probe: Prober,
    x_fit: Array,
    generator: np.random.Generator,
    *,
    compared: bool = False,
    decision: Decision = CLASSES,
    texts: bool = False,
) -> FitRows:
    """Steps 1 and 2; see `fit`. Rows may be `texts`. Raises CALIBRATION_TOO_SMALL where no attack
    succeeds.
    """
    (own, seen), places = probe.measure(x_fit), np.arange(len(x_fit))
    # The last feature takes no part in the score.
    kept = slice(-1 if compared else None)
    clean = RowSubset(x_fit, places, seen[:, kept])
    shifted = {
        name: RowSubset(moved, places, probe.measure(moved)[1][:, kept])
        for name, moved in probe.shifts(x_fit, generator)
    }
    harmful = {}
    for name, moved in probe.attacks(x_fit, generator):
        logits, features = probe.measure(moved)
        if (changed := decision.changed(own, logits)).any():
            harmful[name] = RowSubset(moved[changed], places[changed], features[changed, kept])
    if not harmful:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, "no attack changed an answer of the fit slice"
        )
    stretch = _STRETCHED_TEXTS if texts else 1.0
    if CHANGES[0] in shifted:
        stretch = _STRETCHED_IMAGES
    retaken = tuple(shifted.pop(name) for name in RETAKEN if name in shifted)
    return FitRows(clean, tuple(shifted.values()), harmful, compared, stretch, retaken)


def draft_detector(seen: FitRows) -> Detector:
    """Step 3: a detector without limits."""
    clean = seen.clean.features
    # Rows as they are weigh as two of their changes.
    harmless = np.concatenate([clean, clean, *(each.features for each in seen.shifted)])
    harmful = np.concatenate([each.features for each in seen.harmful.values()])
    found = fit_scoring(clean, harmless, harmful, seen.stretch)
    refusal = None
    if seen.retaken:
        harmless = np.concatenate([harmless, *(each.features for each in seen.retaken)])
        odds = fit_scoring(clean, harmless, harmful, seen.stretch).trained
        refusal = RefusalScore(0.0, odds)
    parts = found.scaling, found.clean, found.trained
    return Detector(
        *parts,
        _NO_LIMITS,
        tuple(seen.harmful),
        disagreement=FLOAT32 if seen.compared else None,
        refusal=refusal,
    )


def set_thresholds(
    draft: Detector, probe: Prober, x_calibration: Array, generator: np.random.Generator
) -> Detector:
    """Step 4: the draft with its limits, of the scores that it gives what `probe` measures."""
    clean = probe.measure(x_calibration)[1]
    shifted = {
        name: probe.measure(moved)[1]
        for name, moved in probe.shifts(x_calibration, generator)
        if name not in BEYOND
    }
    return calibrated(draft, clean, shifted)


def calibrated(draft: Detector, clean: Floats32, shifted: Mapping[str, Floats32]) -> Detector:
    """The draft with limits that stand on the features [n, F] of clean rows, and of the same under
    each benign change. Raises CALIBRATION_TOO_SMALL like `calibrate`.
    """
    draft = _levelled(draft, clean)
    scores = {name: draft.scores(features) for name, features in shifted.items()}
    limits = calibrate(draft.scores(clean), scores, least_threshold(draft))
    return replace(draft, calibration=limits)


def _levelled(draft: Detector, clean: Floats32) -> Detector:
    """The draft, which refuses no row that its refusal spares, and leaves it suspect."""
    if draft.refusal is None:
        return draft
    plain = replace(draft, refusal=None, calibration=_NO_LIMITS)
    suspect = calibrate(plain.scores(clean), {}, least_threshold(draft)).suspect.threshold
    if draft.first is not None:
        # The response graph's own score, of which the joint one is log(1 + exp(score)).
        suspect = float(np.log(np.expm1(max(suspect, _ABOVE))))
    return replace(draft, refusal=replace(draft.refusal, level=suspect + _ABOVE))


def least_threshold(detector: Detector) -> float:
    """The lowest threshold: a row that the first stage clears is no alarm, however few rows it
    escalates.
    """
    return -np.inf if detector.first is None else 0.0


def recalibrated(detector: Detector, traffic: npt.NDArray[np.float32]) -> Detector:
    """The detector with its thresholds set on the features [n, F] of traffic instead, all of it:
    what was refused too, or the thresholds would fall with each calibration. Nothing is promised of
    benign changes then, for of traffic only the features are known.

    Attacks among the traffic raise the thresholds by as much as they are of it. Raises
    CALIBRATION_TOO_SMALL like `calibrate`, also for features of another width.
    """
    if traffic.ndim != 2 or traffic.shape[1] != detector.width:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, "the features are of another kind of graph"
        )
    return calibrated(detector, traffic, {})


def calibrate(scores: Floats, shifted: Mapping[str, Floats], least: float = -np.inf) -> Calibration:
    """Set the thresholds on clean scores [n]: 1% and 5% of false alarms, or 5% and 10% if few; and
    5% on the scores [n] of the same rows under each benign change, by its name. None is below
    `least`.

    Raises CALIBRATION_TOO_SMALL for fewer than 59, or where a score is not a number.
    """
    n = len(scores)
    if n == 0 or not all(np.isfinite(each).all() for each in (scores, *shifted.values())):
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, "not every calibration row has a score")
    upper, lower = (_limit(scores, bound) for bound in bounds(n))
    rank = calibration.conformal_rank(n, SHIFT_BOUND, CONFIDENCE)
    shifts = [BenignShift(name, rank, _ranked(each, rank)) for name, each in shifted.items()]
    threshold = max(upper.threshold, *(shift.score for shift in shifts), least)
    return Calibration(
        tuple(np.sort(scores).tolist()),
        CONFIDENCE,
        ScoreThreshold(upper.bound, upper.rank, threshold),
        replace(lower, threshold=max(lower.threshold, least)),
        tuple(shifts),
    )


def bounds(n: int) -> tuple[float, float]:
    """The bounds on false alarms that `n` rows support: for `adversarial`, and for `suspect` or
    worse.
    """
    return (0.01, 0.05) if n >= MANY_ROWS else (0.05, 0.1)


def _limit(scores: Floats, bound: float) -> ScoreThreshold:
    rank = calibration.conformal_rank(len(scores), bound, CONFIDENCE)
    if len(scores) < LEAST_CALIBRATION_ROWS:
        raise SealgateError(
            Reason.CALIBRATION_TOO_SMALL, f"{len(scores)} clean rows back no bound of {bound:g}"
        )
    return ScoreThreshold(bound, rank, _ranked(scores, rank))


def _ranked(scores: Floats, rank: int) -> float:
    """The `rank`-th largest."""
    return float(np.sort(scores)[-rank])


# Stands in until scores exist to set thresholds on; no detector leaves here with it.
_NO_LIMITS = Calibration(
    (0.0,) * 59, CONFIDENCE, ScoreThreshold(0.05, 1, 1.0), ScoreThreshold(0.05, 1, 0.0)
)
